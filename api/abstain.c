/* abstain.c: what an abstention says in the language of its question (abstain.h). Threads: any. */
#include "api/abstain.h"
#include <string.h>

static const struct { const char *code, *text; } sentences[] = {
	{ "en", "The documents do not answer this question." },
	{ "de", "Die Dokumente beantworten diese Frage nicht." },
	{ "fr", "Les documents ne répondent pas à cette question." },
	{ "es", "Los documentos no responden a esta pregunta." },
	{ "it", "I documenti non rispondono a questa domanda." },
	{ "pt", "Os documentos não respondem a esta pergunta." },
	{ "nl", "De documenten beantwoorden deze vraag niet." },
	{ "pl", "Dokumenty nie odpowiadają na to pytanie." },
	{ "sv", "Dokumenten besvarar inte den här frågan." },
	{ "da", "Dokumenterne besvarer ikke dette spørgsmål." },
	{ "no", "Dokumentene besvarer ikke dette spørsmålet." },
	{ "fi", "Asiakirjat eivät vastaa tähän kysymykseen." },
	{ "cs", "Dokumenty na tuto otázku neodpovídají." },
	{ "hu", "A dokumentumok nem válaszolnak erre a kérdésre." },
	{ "ro", "Documentele nu răspund la această întrebare." },
	{ "tr", "Belgeler bu soruyu yanıtlamıyor." },
	{ "vi", "Các tài liệu không trả lời câu hỏi này." },
	{ "id", "Dokumen tidak menjawab pertanyaan ini." },
	{ "uk", "Документи не містять відповіді на це запитання." },
	{ "th", "เอกสารไม่มีคำตอบสำหรับคำถามนี้" },
	{ "ru", "В документах нет ответа на этот вопрос." },
	{ "zh", "文档中没有这个问题的答案。" },
	{ "ja", "文書にはこの質問への回答がありません。" },
	{ "ko", "문서에 이 질문에 대한 답이 없습니다." },
	{ "ar", "لا تجيب المستندات عن هذا السؤال." },
	{ "el", "Τα έγγραφα δεν απαντούν σε αυτή την ερώτηση." },
	{ "he", "המסמכים אינם עונים על שאלה זו." },
	{ "hi", "दस्तावेज़ इस प्रश्न का उत्तर नहीं देते।" },
};

const char *abstain_text(const char *code)
{
	for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++)
		if (strcmp(sentences[i].code, code) == 0) return sentences[i].text;
	return sentences[0].text;
}
