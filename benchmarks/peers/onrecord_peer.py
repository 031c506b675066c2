"""On Record by the same protocol. It reads the transcripts in the format they come in; its passages say themselves
which words of which turn they hold."""

from pathlib import Path

from protocol import main

from app.quoting import search
from index.build import ingest
from index.embed import load_embedder
from index.search import Index
from ingest.limits import Limits


class OnRecord:
    def __init__(self):
        self.embedder = load_embedder()

    def ingest(self, texts, store):
        return ingest([texts], store, self.embedder, Limits()).passages

    def open(self, texts, store):
        self.index = Index.open(store, self.embedder)
        self.meetings = {source.id: Path(source.path).stem for source in self.index.store.sources()}
        self.ids = {meeting: source_id for source_id, meeting in self.meetings.items()}

    def search(self, question, meeting, depth):
        hits = search(self.index, question, top_k=depth, source=meeting and self.ids[meeting])
        return [{"meeting": self.meetings[hit.source.id], "turns": turns(hit)} for hit in hits]


def turns(hit):
    spans = [(hit.turns[span.turn], span) for span in hit.passage.spans]
    return [{"start": t.cue_at(s.begin).start, "text": t.text[s.begin : s.end]} for t, s in spans]


if __name__ == "__main__":
    main(OnRecord)
