from zhseq.tagging.document import Document, Entity, Word


def test_a_document_is_printed_as_tagged_text() -> None:
    words = (Word("江", 0, 1, "nr"), Word("泽民", 1, 3, "nr"), Word("在", 3, 4, "p"), Word("北京", 5, 7, "ns"))
    entities = (Entity("江泽民", 0, 3, "PER"), Entity("北京", 5, 7, "LOC", 0.25))
    text = "江泽民在 北京"
    assert str(Document(text, words, entities)) == "[江/nr 泽民/nr]PER 在/p [北京/ns]LOC:0.250"
    assert str(Document(text, words, ())) == "江/nr 泽民/nr 在/p 北京/ns"
    assert str(Document(text, (), entities)) == "[江泽民]PER 在 [北京]LOC:0.250"
    assert str(Document("", (), ())) == ""
