/* language.c: which language a question is in (language.h).
 *
 * Text in Latin letters is told by its function words, which a question always has. Other scripts stand for the
 * language that most who write them ask in; kana and the letters that only Ukrainian has decide over what they share
 * with others. A borrowed English phrase inside does not count. No model, no state. Threads: any. */
#include "api/language.h"
#include <stdint.h>
#include <string.h>
#include "base/unicode.h"
#include "base/utf8.h"

enum { WORD_MAX = 32 };
struct language {
	const char *code;
	const char *words;     /* function words, each between blanks; NULL: told by script */
	const char *abstain;
};
static const struct language languages[] = {
	{ "en", " the of is are what who when where how which does did do was were in to for and a an can may has have why many much ",
		"The documents do not answer this question." },
	{ "de", " der die das den dem ein eine einer ist sind war waren was wer wann wo wie welche welcher welches und von mit für nicht im zu hat wird werden wurde warum viele wird ",
		"Die Dokumente beantworten diese Frage nicht." },
	{ "fr", " le la les un une des du de est sont était que qui quand où comment quel quelle quels quelles et dans pour avec ne pas a été combien pourquoi ",
		"Les documents ne répondent pas à cette question." },
	{ "es", " el la los las un una del de es son era qué quién cuándo dónde cómo cuál cuáles y en para con no fue por cuántos cuántas ",
		"Los documentos no responden a esta pregunta." },
	{ "it", " il lo la i gli le un una di del della è sono era che chi quando dove come quale quali e in per con non quanti perché ",
		"I documenti non rispondono a questa domanda." },
	{ "pt", " o a os as um uma do da dos das é são era que quem quando onde como qual quais e em para com não foi quantos por ",
		"Os documentos não respondem a esta pergunta." },
	{ "nl", " de het een van is zijn was waren wat wie wanneer waar hoe welke en in voor met niet door hoeveel waarom ",
		"De documenten beantwoorden deze vraag niet." },
	{ "pl", " i w na z do jest są był była co kto kiedy gdzie jak który która które nie dla przez ile dlaczego ",
		"Dokumenty nie odpowiadają na to pytanie." },
	{ "sv", " och att det som är på av för med den till inte har var hur många vem vad när vilken vilket vilka ett en finns kan varför ",
		"Dokumenten besvarar inte den här frågan." },
	{ "da", " og at det som er på af for med den til ikke har var hvor mange hvem hvad hvornår hvilken hvilket hvilke et en kan hvorfor ",
		"Dokumenterne besvarer ikke dette spørgsmål." },
	{ "no", " og at det som er på av for med den til ikke har var hvor mange hvem hva når hvilken hvilket hvilke et en kan hvorfor ",
		"Dokumentene besvarer ikke dette spørsmålet." },
	{ "fi", " ja on ei se että kuka mikä mitä missä milloin miten kuinka monta miksi ovat oli mistä onko kenen ",
		"Asiakirjat eivät vastaa tähän kysymykseen." },
	{ "cs", " je v na se jsou byl byla kdo co kdy kde jak který která které jaké jaký jaká pro kolik proč nebo má ",
		"Dokumenty na tuto otázku neodpovídají." },
	{ "hu", " az és van mi ki mikor hol hogyan melyik mennyi hány miért egy nem volt ",
		"A dokumentumok nem válaszolnak erre a kérdésre." },
	{ "ro", " și este sunt ce cine când unde cum care în pentru nu cât câte câți fost ",
		"Documentele nu răspund la această întrebare." },
	{ "tr", " ve bir bu ne kim nerede nasıl neden kaç hangi için ile mi mı nedir kimdir neresidir zaman ",
		"Belgeler bu soruyu yanıtlamıyor." },
	{ "vi", " là gì của và ai khi nào ở đâu như thế có không những các bao nhiêu tại sao ",
		"Các tài liệu không trả lời câu hỏi này." },
	{ "id", " apa siapa kapan di mana bagaimana berapa yang dan dari untuk dengan adalah tidak mengapa ini itu ",
		"Dokumen tidak menjawab pertanyaan ini." },
	{ "uk", NULL, "Документи не містять відповіді на це запитання." },
	{ "th", NULL, "เอกสารไม่มีคำตอบสำหรับคำถามนี้" },
	{ "ru", NULL, "В документах нет ответа на этот вопрос." },
	{ "zh", NULL, "文档中没有这个问题的答案。" },
	{ "ja", NULL, "文書にはこの質問への回答がありません。" },
	{ "ko", NULL, "문서에 이 질문에 대한 답이 없습니다." },
	{ "ar", NULL, "لا تجيب المستندات عن هذا السؤال." },
	{ "el", NULL, "Τα έγγραφα δεν απαντούν σε αυτή την ερώτηση." },
	{ "he", NULL, "המסמכים אינם עונים על שאלה זו." },
	{ "hi", NULL, "दस्तावेज़ इस प्रश्न का उत्तर नहीं देते।" },
};
enum { LANGUAGES = sizeof languages / sizeof languages[0] };

static const char *script_of(uint32_t cp)
{
	if (cp >= 0x3040 && cp <= 0x30ff) return "ja";
	if (cp >= 0xac00 && cp <= 0xd7af) return "ko";
	if (uni_is_cjk(cp)) return "zh";
	if (cp == 0x404 || cp == 0x406 || cp == 0x407 || cp == 0x454 || cp == 0x456 || cp == 0x457 || (cp | 1) == 0x491) return "uk";
	if (cp >= 0x0400 && cp <= 0x04ff) return "ru";
	if (cp >= 0x0600 && cp <= 0x06ff) return "ar";
	if (cp >= 0x0590 && cp <= 0x05ff) return "he";
	if (cp >= 0x0370 && cp <= 0x03ff) return "el";
	if (cp >= 0x0900 && cp <= 0x097f) return "hi";
	if (cp >= 0x0e00 && cp <= 0x0e7f) return "th";
	return NULL;
}

/* Counts the word for every language that has it. */
static void word_count(const char *word, size_t len, int counts[LANGUAGES])
{
	char key[WORD_MAX + 3];
	if (len == 0 || len > WORD_MAX) return;
	key[0] = ' ';
	memcpy(key + 1, word, len);
	key[len + 1] = ' ';
	key[len + 2] = 0;
	for (int i = 0; i < LANGUAGES; i++)
		if (languages[i].words && strstr(languages[i].words, key)) counts[i]++;
}

const char *language_of(const char *text, size_t len)
{
	int counts[LANGUAGES] = { 0 }, best = 0;
	char word[WORD_MAX + 4];
	size_t n = 0, i = 0, letters = 0, script_n = 0;
	const char *script = NULL;
	while (i < len) {
		int32_t cp = utf8_next(text, len, &i);
		const char *here = cp >= 0 ? script_of((uint32_t)cp) : NULL;
		if (here && strcmp(here, "ja") == 0) return here;
		if (here && (!script || strcmp(here, "uk") == 0)) script = here;
		script_n += here != NULL;
		if (cp >= 0 && uni_is_word((uint32_t)cp)) {
			letters++;
			if (n <= WORD_MAX) n += utf8_put(word + n, uni_tolower((uint32_t)cp));
		} else {
			word_count(word, n, counts);
			n = 0;
		}
	}
	word_count(word, n, counts);
	for (int k = 1; k < LANGUAGES; k++)
		if (counts[k] > counts[best]) best = k;
	if (script && (counts[best] == 0 || 2 * script_n > letters)) return script;
	return languages[best].code;
}

const char *language_abstain(const char *code)
{
	for (int i = 0; i < LANGUAGES; i++)
		if (strcmp(languages[i].code, code) == 0) return languages[i].abstain;
	return languages[0].abstain;
}
