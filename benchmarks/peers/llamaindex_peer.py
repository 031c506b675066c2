"""LlamaIndex as its starter tutorial for local models, its page on persisting, and its example of reciprocal rerank
fusion set it up."""

from pathlib import Path

from llama_index.core import (
    Settings,
    SimpleDirectoryReader,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.vector_stores import ExactMatchFilter, MetadataFilters
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from protocol import found, main, model_folder


class LlamaIndex:
    def __init__(self):
        Settings.embed_model = HuggingFaceEmbedding(model_name=model_folder())

    def ingest(self, texts, store):
        documents = SimpleDirectoryReader(str(texts)).load_data()
        index = VectorStoreIndex.from_documents(documents)
        index.storage_context.persist(persist_dir=str(store))
        return len(index.docstore.docs)

    def open(self, texts, store):
        self.index = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(store)))

    def retriever(self, meeting, depth):
        return self.index.as_retriever(similarity_top_k=depth, filters=self.filters(meeting))

    def filters(self, meeting):
        return meeting and MetadataFilters(filters=[ExactMatchFilter(key="file_name", value=f"{meeting}.txt")])

    def search(self, question, meeting, depth):
        nodes = [hit.node for hit in self.retriever(meeting, depth).retrieve(question)]
        return [found(Path(n.metadata["file_name"]).stem, n.get_content(), n.start_char_idx) for n in nodes]


class Hybrid(LlamaIndex):
    """With BM25 beside the vectors. It is built anew from the stored passages, and takes a filter only when built."""

    def open(self, texts, store):
        super().open(texts, store)
        self.words = {}

    def retriever(self, meeting, depth):
        from llama_index.core.llms import MockLLM
        from llama_index.core.retrievers import QueryFusionRetriever
        from llama_index.retrievers.bm25 import BM25Retriever

        if meeting not in self.words:
            self.words[meeting] = BM25Retriever.from_defaults(
                docstore=self.index.docstore, similarity_top_k=depth, filters=self.filters(meeting)
            )
        return QueryFusionRetriever(
            [super().retriever(meeting, depth), self.words[meeting]],
            llm=MockLLM(),  # never asked: one query is the question itself
            similarity_top_k=depth,
            num_queries=1,
            mode="reciprocal_rerank",
            use_async=False,
        )


if __name__ == "__main__":
    main(LlamaIndex, Hybrid)
