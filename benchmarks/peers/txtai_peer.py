"""txtai as its pages on embeddings, on segmentation and on queries set it up."""

from protocol import found, main, model_folder
from txtai import Embeddings


class Txtai:
    """A stored index loads its model itself."""

    hybrid = False

    def __init__(self):
        self.embeddings = None

    def ingest(self, texts, store):
        from txtai.pipeline import Segmentation

        if self.embeddings is None:
            self.embeddings = Embeddings(path=model_folder(), content=True, hybrid=self.hybrid)
        # Chonkie's own size, 2,048 characters, is twice what the model reads.
        split = Segmentation(chunker="recursive", chunk_size=1000)
        self.embeddings.index(
            {"text": passage, "meeting": path.stem}
            for path in sorted(texts.glob("*.txt"))
            for passage in split(path.read_text("utf-8"))
        )
        self.embeddings.save(str(store))
        return self.embeddings.count()

    def open(self, texts, store):
        self.embeddings = Embeddings()
        self.embeddings.load(str(store))
        self.passages = self.embeddings.count()

    def search(self, question, meeting, depth):
        if meeting is None:
            passages = self.embeddings.search(
                "select text, meeting from txtai where similar(:q)", depth, parameters={"q": question}
            )
        else:
            # The filter holds for the candidates only, ten times `depth` where none are named.
            passages = self.embeddings.search(
                f"select text, meeting from txtai where similar(:q, {self.passages}) and meeting = :m",
                depth,
                parameters={"q": question, "m": meeting},
            )
        return [found(p["meeting"], p["text"], None) for p in passages]


class Hybrid(Txtai):
    hybrid = True


if __name__ == "__main__":
    main(Txtai, Hybrid)
