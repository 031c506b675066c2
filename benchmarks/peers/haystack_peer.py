"""Haystack as its pages on DocumentSplitter, InMemoryDocumentStore, the Sentence Transformers embedders and
DocumentJoiner set it up."""

from haystack import Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersTextEmbedder
from protocol import found, main, model_folder


class Haystack:
    def __init__(self):
        """The embedder of documents shares the model of this one."""
        self.embedder = SentenceTransformersTextEmbedder(model=model_folder(), progress_bar=False)
        self.embedder.warm_up()

    def ingest(self, texts, store):
        from haystack.components.converters import TextFileToDocument
        from haystack.components.preprocessors import DocumentSplitter
        from haystack.components.writers import DocumentWriter
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
        )

        documents = InMemoryDocumentStore()
        pipeline = Pipeline()
        pipeline.add_component("converter", TextFileToDocument())
        pipeline.add_component("splitter", DocumentSplitter())
        pipeline.add_component(
            "embedder", SentenceTransformersDocumentEmbedder(model=model_folder(), progress_bar=False)
        )
        pipeline.add_component("writer", DocumentWriter(documents))
        pipeline.connect("converter", "splitter")
        pipeline.connect("splitter", "embedder")
        pipeline.connect("embedder", "writer")
        pipeline.run({"converter": {"sources": sorted(texts.glob("*.txt"))}})
        documents.save_to_disk(str(store))
        return documents.count_documents()

    def open(self, texts, store):
        documents = InMemoryDocumentStore.load_from_disk(str(store))
        self.pipeline = Pipeline()
        self.pipeline.add_component("embedder", self.embedder)
        self.pipeline.add_component("vectors", InMemoryEmbeddingRetriever(documents))
        self.pipeline.connect("embedder.embedding", "vectors.query_embedding")
        self.result = "vectors"
        self.add(documents)

    def add(self, documents):
        pass

    def inputs(self, question, narrowed):
        return {"embedder": {"text": question}, "vectors": narrowed}

    def search(self, question, meeting, depth):
        only = {"field": "meta.file_path", "operator": "==", "value": f"{meeting}.txt"} if meeting else None
        given = self.pipeline.run(self.inputs(question, {"filters": only, "top_k": depth}))
        passages = given[self.result]["documents"][:depth]
        return [found(p.meta["file_path"], p.content, p.meta["split_idx_start"]) for p in passages]


class Hybrid(Haystack):
    """With BM25 beside the vectors, joined by reciprocal ranks."""

    def add(self, documents):
        from haystack.components.joiners import DocumentJoiner
        from haystack.components.retrievers.in_memory import InMemoryBM25Retriever

        self.pipeline.add_component("words", InMemoryBM25Retriever(documents))
        self.pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
        self.pipeline.connect("words", "joiner")
        self.pipeline.connect("vectors", "joiner")
        self.result = "joiner"

    def inputs(self, question, narrowed):
        return {**super().inputs(question, narrowed), "words": {"query": question, **narrowed}}


if __name__ == "__main__":
    main(Haystack, Hybrid)
