/* language.c: which language a text is in (language.h).
 *
 * Text in Latin letters is told by its function words, which a question always has. Other scripts stand for the
 * language that most who write them ask in; kana and the letters that only Ukrainian has decide over what they share
 * with others. A borrowed English phrase inside does not count. No model, no state but the sorted words, made once. Threads:
 * any. */
#include "base/language.h"
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/unicode.h"
#include "base/utf8.h"

enum { WORD_MAX = 32, WORDS_CAP = 1024, LOOKED_AT = 2048, SURE_FROM = 4 };

/* Function words of a language in one string, blanks between; NULL: told by script. */
static const struct { const char *code, *words; } languages[] = {
	{ "en", "the of is are what who when where how which does did do was were in to for and a an can may has have "
		"why many much this that it with by from on or not be been their its than these as i me my we you your he she if "
		"so no then there also all any more will would just but at they use using get am" },
	{ "de", "der die das den dem ein eine einer ist sind war waren was wer wann wo wie welche welcher welches und "
		"von mit für nicht im zu hat wird werden wurde warum viele auch als aus bei nach sich auf einem einen eines "
		"des oder durch dass zum zur sowie über unter vor noch nur" },
	{ "fr", "le la les un une des du de est sont était que qui quand où comment quel quelle quels quelles et dans "
		"pour avec ne pas a été combien pourquoi au aux par sur ce cette son sa ses leur ou ainsi mais nous vous" },
	{ "es", "el la los las un una del de es son era qué quién cuándo dónde cómo cuál cuáles y en para con no fue "
		"por cuántos cuántas al se su sus más como o entre sobre desde este esta fueron había" },
	{ "it", "il lo la i gli le un una di del della è sono era che chi quando dove come quale quali e in per con "
		"non quanti perché al dal nel nella delle dei degli si più ed anche alla da sul questo" },
	{ "pt", "o a os as um uma do da dos das é são era que quem quando onde como qual quais e em para com não foi "
		"quantos por ao aos à na nas nos pela pelo mais se entre sobre ou também" },
	{ "nl", "de het een van is zijn was waren wat wie wanneer waar hoe welke en in voor met niet door hoeveel "
		"waarom dat die aan op te als bij uit ook maar naar deze dit worden werd om over" },
	{ "pl", "i w na z do jest są był była co kto kiedy gdzie jak który która które nie dla przez ile dlaczego się "
		"że od po oraz lub jako przy przed tylko tym" },
	{ "sv", "och att det som är på av för med den till inte har var hur många vem vad när vilken vilket vilka ett "
		"en finns kan varför eller från så denna detta dess under efter vid mot även kunde" },
	{ "da", "og at det som er på af for med den til ikke har var hvor mange hvem hvad hvornår hvilken hvilket "
		"hvilke et en kan hvorfor eller fra så denne dette dens under efter ved mod også blev blive" },
	{ "no", "og at det som er på av for med den til ikke har var hvor mange hvem hva når hvilken hvilket hvilke et "
		"en kan hvorfor eller fra så denne dette dens under etter ved mot også ble bli" },
	{ "fi", "ja on ei se että kuka mikä mitä missä milloin miten kuinka monta miksi ovat oli mistä onko kenen sekä "
		"myös tai hän joka jotka mutta kun sen olla hänen niin" },
	{ "cs", "je v na se jsou byl byla kdo co kdy kde jak který která které jaké jaký jaká pro kolik proč nebo má "
		"že od po jako při před pouze také kteří byly" },
	{ "hu", "az és van mi ki mikor hol hogyan melyik mennyi hány miért egy nem volt hogy is ez azt meg vagy csak "
		"már még mint után által" },
	{ "ro", "și este sunt ce cine când unde cum care în pentru nu cât câte câți fost din la cu pe mai sau o prin "
		"după fi acest această" },
	{ "tr", "ve bir bu ne kim nerede nasıl neden kaç hangi için ile mi mı nedir kimdir neresidir zaman olarak olan "
		"daha gibi kadar sonra çok ise veya olduğu tarafından" },
	{ "vi", "là gì của và ai khi nào ở đâu như thế có không những các bao nhiêu tại sao một trong được với cho này "
		"đã" },
	{ "id", "apa siapa kapan di mana bagaimana berapa yang dan dari untuk dengan adalah tidak mengapa ini itu pada "
		"oleh sebagai atau juga dalam ke telah" },
	{ "uk", NULL },
	{ "th", NULL },
	{ "ru", NULL },
	{ "zh", NULL },
	{ "ja", NULL },
	{ "ko", NULL },
	{ "ar", NULL },
	{ "el", NULL },
	{ "he", NULL },
	{ "hi", NULL },
};
enum { LANGUAGES = sizeof languages / sizeof languages[0] };

struct known { const char *at; size_t len; uint32_t in; }; /* in: a bit a language */
static struct known known[WORDS_CAP];
static size_t known_n;
static pthread_once_t known_once = PTHREAD_ONCE_INIT;

static int word_cmp(const char *a, size_t n, const char *b, size_t m)
{
	int c = memcmp(a, b, n < m ? n : m);
	return c ? c : (n > m) - (n < m);
}

static int by_word(const void *a, const void *b)
{
	const struct known *x = a, *y = b;
	return word_cmp(x->at, x->len, y->at, y->len);
}

static void known_make(void)
{
	size_t kept = 0;
	for (int i = 0; i < LANGUAGES; i++)
		for (const char *s = languages[i].words; s && *s && known_n < WORDS_CAP;) {
			size_t len = strcspn(s, " ");
			known[known_n++] = (struct known){ s, len, 1u << i };
			s += len + (s[len] == ' ');
		}
	qsort(known, known_n, sizeof *known, by_word);
	for (size_t i = 1; i < known_n; i++) {
		if (by_word(&known[kept], &known[i]) == 0) known[kept].in |= known[i].in;
		else known[++kept] = known[i];
	}
	known_n = kept + 1;
}

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

/* The languages that have the function word, a bit each. */
static uint32_t word_in(const char *word, size_t len)
{
	size_t lo = 0, hi = known_n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = word_cmp(word, len, known[mid].at, known[mid].len);
		if (c == 0) return known[mid].in;
		if (c < 0) hi = mid;
		else lo = mid + 1;
	}
	return 0;
}

static void word_count(const char *word, size_t len, int counts[LANGUAGES])
{
	uint32_t in = word_in(word, len);
	for (int i = 0; in && i < LANGUAGES; i++) counts[i] += in >> i & 1;
}

/* What speaks for each language, of *words; *script: the one of the letters, when they are not Latin and many. */
static void text_count(const char *text, size_t len, int counts[LANGUAGES], int *words, const char **script)
{
	char word[WORD_MAX + 4];
	size_t n = 0, i = 0, letters = 0, script_n = 0;
	int any = 0;
	*script = NULL;
	*words = 0;
	pthread_once(&known_once, known_make);
	while (i < len) {
		int32_t cp = utf8_next(text, len, &i);
		const char *here = cp >= 0x250 ? script_of((uint32_t)cp) : NULL;
		if (here && strcmp(here, "ja") == 0) {
			*script = here;
			return;
		}
		if (here && (!*script || strcmp(here, "uk") == 0)) *script = here;
		script_n += here != NULL;
		if (cp >= 0 && uni_is_word((uint32_t)cp)) {
			letters++;
			if (n <= WORD_MAX) n += utf8_put(word + n, uni_tolower((uint32_t)cp));
		} else {
			if (n && n <= WORD_MAX) word_count(word, n, counts);
			*words += n > 0;
			n = 0;
		}
	}
	if (n && n <= WORD_MAX) word_count(word, n, counts);
	*words += n > 0;
	for (int k = 0; k < LANGUAGES; k++) any |= counts[k];
	if (any && 2 * script_n <= letters) *script = NULL;
}

static int most(const int counts[LANGUAGES])
{
	int best = 0;
	for (int k = 1; k < LANGUAGES; k++)
		if (counts[k] > counts[best]) best = k;
	return best;
}

const char *language_of(const char *text, size_t len)
{
	int counts[LANGUAGES] = { 0 }, words;
	const char *script;
	text_count(text, len, counts, &words, &script);
	return script ? script : languages[most(counts)].code;
}

const char *language_of_document(const char *text, size_t len)
{
	int counts[LANGUAGES] = { 0 }, words, best;
	const char *script;
	text_count(text, len > LOOKED_AT ? utf8_floor(text, len, LOOKED_AT) : len, counts, &words, &script);
	best = most(counts);
	if (script) return script;
	return counts[best] >= SURE_FROM && 8 * counts[best] >= words && 2 * counts[best] >= 3 * counts[0] ? languages[best].code : languages[0].code;
}
