"""All settings, read once from the environment (`ONRECORD_…`) by whoever starts the program, and passed down."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.keys import Key, parse_keys
from app.origins import parse_origins
from index.embed import DEFAULT_MODEL
from index.where import Server, Where
from ingest.limits import MIB, Limits


def _listed(given: object) -> object:
    return given.split(",") if isinstance(given, str) else given


def _stripped(ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each.strip() for each in ids if each.strip())


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for each in texts:
        ip_network(each)
    return texts


# NoDecode: a list in the environment would have to be JSON.
_Keys = Annotated[Path | tuple[Key, ...] | None, NoDecode, BeforeValidator(parse_keys)]
_Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(parse_origins)]
_Ids = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_stripped)]
_Networks = Annotated[_Ids, AfterValidator(_networks)]


SECRETS = Path("/run/secrets")
"""Where containers are given files with one secret each, as ONRECORD_API_KEYS."""


class Settings(BaseSettings):
    """What can be set. Each field is the variable `ONRECORD_` and its name in capitals, but for OpenAI's two
    and OpenTelemetry's."""

    model_config = SettingsConfigDict(
        env_prefix="ONRECORD_", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    index_dir: Path = Field(default=Path("index/snapshots"), description="where snapshots lie")
    store: SecretStr | None = Field(
        default=None,
        description="`postgresql://…`: the index is kept on that server, for many machines, and not in a folder",
    )
    store_replica: SecretStr | None = Field(
        default=None, description="a replica of that server, which is read from for as long as it answers"
    )
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
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENAI_API_KEY", description="the key for the model that writes answers"
    )
    openai_base_url: str | None = Field(
        default=None,
        validation_alias="OPENAI_BASE_URL",
        description="where the model is, if not at OpenAI; alone it is enough for a server that wants no key",
    )
    llm_model: str = Field(
        default="gpt-4.1-mini", description="the model that writes answers; empty: answers stay in quotations"
    )
    llm_context_tokens: int = Field(
        default=8192, ge=1024, description="what the model can read and write in one go, in tokens"
    )
    llm_max_tokens: int = Field(default=1024, ge=64, description="the longest that the model may write, in tokens")
    llm_try_seconds: float = Field(default=20.0, gt=0, description="time for one try to begin, and between two tokens")
    llm_total_seconds: float = Field(default=45.0, gt=0, description="time for a whole answer, all tries included")
    llm_retries: int = Field(default=2, ge=0, le=10, description="further tries after 429, 5xx or a lost connection")
    llm_concurrency: int = Field(default=8, ge=1, description="most calls to the model at the same time")
    conversations: str | None = Field(
        default=None,
        description="the SQLite file of conversations, or `:memory:`; by default in the index folder",
    )
    conversation_hours: float = Field(default=72.0, gt=0, description="a conversation is forgotten after so long")
    feedback: str | None = Field(
        default=None,
        description="the SQLite file of answers and what readers thought of them; by default in the index folder",
    )
    feedback_days: float = Field(default=365.0, ge=0, description="feedback is forgotten after so long; 0: never")
    api_keys: _Keys = Field(
        default=None,
        description="a file of `onrecord keys`, or keys separated by commas; docs/access.md. Without, all may ask",
    )
    open: bool = Field(
        default=False, description="whether it is meant that whoever reaches the server may ask, without a key"
    )
    key_requests_per_minute: int = Field(default=6000, ge=0, description="most requests with one key; 0: any number")
    origin_requests_per_minute: int = Field(
        default=600, ge=0, description="most requests of the pages of one listed origin; 0: any number"
    )
    address_requests_per_minute: int = Field(
        default=600, ge=0, description="most requests without a key from one address; 0: any number"
    )
    rate_store: SecretStr | None = Field(
        default=None, description="`redis://…`, where several servers count together; each by itself without it"
    )
    trusted_proxies: _Networks = Field(
        default=("127.0.0.1", "::1"),
        description="addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
    )
    widget_origins: _Origins = Field(
        default=(), description="whose pages may embed the widget: origins, separated by commas; empty: only our own"
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="signs the widget's tokens, the same for all servers behind one address; by default drawn anew",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^(https?://\S+)?$",
        description="where people reach this service's pages, for links to them",
    )
    slack_bot_token: SecretStr | None = Field(
        default=None, description="the bot's token, `xoxb-…`; without it there is no Slack bot; docs/slack.md"
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None, description="what Slack signs its requests with; with it the service takes them over HTTP"
    )
    slack_app_token: SecretStr | None = Field(
        default=None, description="the app's token, `xapp-…`, for `onrecord slack`, which needs no public address"
    )
    slack_teams: _Ids = Field(
        default=(), description="workspaces whose questions are answered, by id (`T…`); empty: all that have the app"
    )
    slack_channels: _Ids = Field(
        default=(),
        description="channels in which questions are answered, by id, and `im` for direct messages; empty: all",
    )
    slack_follow_ups: bool = Field(
        default=True, description="whether questions in a thread that the bot takes part in need no mention"
    )
    slack_groups: _Ids = Field(
        default=(),
        description="groups whose private sources Slack may read, whoever asks there; empty: public ones alone",
    )
    slack_questions_per_hour: int = Field(
        default=30, ge=0, description="most questions of one Slack user in an hour; 0: any number"
    )
    slack_ledger: str | None = Field(
        default=None,
        description="the SQLite file of what was asked in Slack and answered; by default in the index folder",
    )
    slack_api_url: str = Field(default="https://slack.com/api/", description="where Slack's Web API is")
    max_quotes: int = Field(default=5, ge=1, le=20, description="most quotations in an answer without an LLM")
    max_file_bytes: int = Field(default=32 * MIB, gt=0, description="larger files are refused")
    max_inflated_bytes: int = Field(
        default=256 * MIB, gt=0, description="a compressed document may unpack to this much"
    )
    max_convert_seconds: float = Field(
        default=60.0, gt=0, description="time for turning one HTML, PDF or DOCX file into text"
    )
    max_request_bytes: int = Field(default=MIB, gt=0, description="larger HTTP requests are refused")
    log_format: Literal["console", "json"] = Field(
        default="console", description="how logs are written: for people, or a JSON object a line"
    )
    log_questions: bool = Field(
        default=False, description="whether logs may hold what people ask, and what libraries say of errors"
    )
    otel_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="where traces are sent, as OTLP over HTTP; without it there are none; docs/observability.md",
    )
    otel_traces_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="the same, where its path is not `/v1/traces` below that",
    )
    max_waiting: int = Field(
        default=256, gt=0, description="most requests waiting or under way in one process; others are sent away"
    )
    request_seconds: float = Field(default=60.0, gt=0, description="time for a request, the model's included")
    drain_seconds: float = Field(
        default=1.0,
        ge=0,
        description="how long a server that is told to stop says that it is not ready before it takes nothing more",
    )
    stop_seconds: int = Field(
        default=30, gt=0, description="how long what is under way may then take, before it is broken off"
    )
    reload_seconds: float = Field(default=1.0, gt=0, description="how often a server looks for a newer snapshot")

    @property
    def where(self) -> Where:
        """Where the index is kept."""
        if self.store is None:
            return self.index_dir
        return Server(
            self.store.get_secret_value(), self.store_replica.get_secret_value() if self.store_replica else None
        )

    @property
    def traces_endpoint(self) -> str | None:
        """The whole address that traces are sent to."""
        below = f"{self.otel_endpoint.rstrip('/')}/v1/traces" if self.otel_endpoint else None
        return self.otel_traces_endpoint or below

    @property
    def has_llm(self) -> bool:
        """Whether a model is to write the answers."""
        return bool(self.llm_model and (self.openai_api_key or self.openai_base_url))

    @property
    def conversations_path(self) -> str:
        """The SQLite file of conversations."""
        return self.conversations or str(self.index_dir / "conversations.sqlite")

    @property
    def feedback_path(self) -> str:
        """The SQLite file of feedback."""
        return self.feedback or str(self.index_dir / "feedback.sqlite")

    @property
    def has_slack(self) -> bool:
        """Whether there is a Slack bot, and a way for Slack to reach it."""
        return bool(self.slack_bot_token and (self.slack_signing_secret or self.slack_app_token))

    @property
    def slack_ledger_path(self) -> str:
        """The SQLite file of what was asked in Slack."""
        return self.slack_ledger or str(self.index_dir / "slack.sqlite")

    @property
    def limits(self) -> Limits:
        """The bounds on one file."""
        return Limits(self.max_file_bytes, self.max_inflated_bytes, self.max_convert_seconds)


def read_settings(index_dir: Path | None = None, secrets: Path = SECRETS) -> Settings:
    """The settings of the environment; what it lacks is read from files in `secrets`, which are named as variables are.

    An `index_dir` is asked for in place of any other index. Raises pydantic's ValidationError.
    """
    given: dict[str, Any] = {"_secrets_dir": secrets} if secrets.is_dir() else {}
    return Settings(**given) if index_dir is None else Settings(**given, index_dir=index_dir, store=None)
