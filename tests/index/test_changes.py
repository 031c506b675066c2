from __future__ import annotations

from pathlib import Path

import pytest

from index.changes import Report, find_changes, read_changed
from ingest.limits import Limits


@pytest.mark.parametrize("meanwhile", [None, "title: A talk\n", "access: [legal]\n"])
def test_a_document_whose_sidecar_changes_while_it_is_read_is_an_error(tmp_path: Path, meanwhile: str | None) -> None:
    """An editor may have taken the sidecar away for a moment; taken for what there is, all could read the document."""
    (tmp_path / "talk.txt").write_text("Ann Lee (00:00:01):\nNobody may know.\n")
    sidecar = tmp_path / "talk.meta.yaml"
    sidecar.write_text("access: [board]\n")
    report = Report()
    changes = find_changes([tmp_path], [], report)
    (changed,) = changes.changed
    read = read_changed(changed, Limits(), report)
    assert read is not None
    assert (read.access, changed.source(read).access, report.errors) == (("board",), ("board",), [])
    if meanwhile is None:
        sidecar.unlink()
    else:
        sidecar.write_text(meanwhile)
    report = Report()
    assert read_changed(changed, Limits(), report) is None
    assert [(error.path, error.error) for error in report.errors] == [
        (str(sidecar), "was changed while its document was read: ingest it again")
    ]
    assert report.added == 0
