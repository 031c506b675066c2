"""LangChain as its semantic search tutorial (loading, splitting) and its pages on FAISS and on the ensemble retriever
set it up."""

from langchain_community.vectorstores import FAISS
from langchain_huggingface import HuggingFaceEmbeddings
from protocol import found, main, model_folder


class LangChain:
    def __init__(self):
        self.embeddings = HuggingFaceEmbeddings(model_name=model_folder())

    def ingest(self, texts, store):
        from langchain_community.document_loaders import DirectoryLoader, TextLoader
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        documents = DirectoryLoader(str(texts), glob="*.txt", loader_cls=TextLoader).load()
        splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200, add_start_index=True)
        passages = splitter.split_documents(documents)
        FAISS.from_documents(passages, self.embeddings).save_local(str(store))
        return len(passages)

    def open(self, texts, store):
        self.texts = texts
        self.store = FAISS.load_local(str(store), self.embeddings, allow_dangerous_deserialization=True)

    def retrieve(self, question, meeting, depth):
        if meeting is None:
            return self.store.similarity_search(question, k=depth)
        # The filter holds for the best `fetch_k` only, 20 where none is given: too few of any one meeting.
        source = {"source": str(self.texts / f"{meeting}.txt")}
        return self.store.similarity_search(question, k=depth, filter=source, fetch_k=self.store.index.ntotal)

    def search(self, question, meeting, depth):
        passages = self.retrieve(question, meeting, depth)
        return [found(p.metadata["source"], p.page_content, p.metadata["start_index"]) for p in passages]


class Hybrid(LangChain):
    """With BM25 beside the vectors. It is built anew from the stored passages, and knows no filter."""

    def open(self, texts, store):
        super().open(texts, store)
        from langchain_classic.retrievers import EnsembleRetriever
        from langchain_community.retrievers import BM25Retriever

        self.words = BM25Retriever.from_documents(list(self.store.docstore._dict.values()))
        self.vectors = self.store.as_retriever()
        self.both = EnsembleRetriever(retrievers=[self.words, self.vectors], weights=[0.5, 0.5])

    def retrieve(self, question, meeting, depth):
        if meeting is not None:
            raise ValueError("BM25Retriever knows no filter")
        self.words.k = depth
        self.vectors.search_kwargs = {"k": depth}
        return self.both.invoke(question)[:depth]


if __name__ == "__main__":
    main(LangChain, Hybrid)
