"""All settings, read once from the environment (`ONRECORD_…`) by whoever starts the program, and passed down."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from index.embed import DEFAULT_MODEL
from ingest.limits import MIB, Limits


class Settings(BaseSettings):
    """What can be set. Each field is the variable `ONRECORD_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="ONRECORD_", extra="ignore", frozen=True)

    index_dir: Path = Field(default=Path("index/snapshots"), description="where snapshots lie")
    embedding_model: str = Field(
        default=DEFAULT_MODEL, description="the default model, or a path or hub name that sentence-transformers loads"
    )
    reranker_model: str | None = Field(
        default=None, description="a cross-encoder's path or hub name: it orders the first passages found anew"
    )
    min_confidence: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="below this confidence the answer is that there is none; docs/evaluation.md",
    )
    max_quotes: int = Field(default=5, ge=1, le=20, description="most quotations in an answer without an LLM")
    max_file_bytes: int = Field(default=32 * MIB, gt=0, description="larger files are refused")
    max_inflated_bytes: int = Field(
        default=256 * MIB, gt=0, description="a compressed document may unpack to this much"
    )
    max_convert_seconds: float = Field(
        default=60.0, gt=0, description="time for turning one HTML, PDF or DOCX file into text"
    )
    max_request_bytes: int = Field(default=MIB, gt=0, description="larger HTTP requests are refused")
    reload_seconds: float = Field(default=1.0, gt=0, description="how often a server looks for a newer snapshot")

    @property
    def limits(self) -> Limits:
        """The bounds on one file."""
        return Limits(self.max_file_bytes, self.max_inflated_bytes, self.max_convert_seconds)
