/* language.c: which language a text is in (language.h).
 *
 * Text in Latin letters is told by its function words; a question, which may have one alone, also by its letters, and those
 * of names count nothing. Other scripts stand for the
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

enum { WORD_MAX = 32, WORDS_CAP = 2048, LOOKED_AT = 2048, SURE_FROM = 4 };

/* Function words of a language in one string, blanks between; NULL: told by script. asking: further ones that speak in
 * questions alone, because stored words are stemmed by what a document's language was. letters: those beside a to z. */
static const struct { const char *code, *words, *asking, *letters; } languages[] = {
	{ "en", "the of is are what who when where how which does did do was were in to for and a an can may has have "
		"why many much this that it with by from on or not be been their its than these as i me my we you your he she if "
		"so no then there also all any more will would just but at they use using get am",
		"whose whom shall had could should must doing done our us them into about between during before after under "
		"over because while only name tell give explain ever out up same make need take", "" },
	{ "de", "der die das den dem ein eine einer ist sind war waren was wer wann wo wie welche welcher welches und "
		"von mit für nicht im zu hat wird werden wurde warum viele auch als aus bei nach sich auf einem einen eines "
		"des oder durch dass zum zur sowie über unter vor noch nur",
		"in wessen wem wen welchem welchen wozu womit wofür wovon woran worin worauf worüber worum wodurch wonach woher "
		"wohin weshalb wieso weswegen wieviel inwiefern heißt heißen hieß hießen bedeutet bedeuten bedeutete liegt "
		"liegen gibt gab macht machte hatte hatten haben wurden worden kann können konnte konnten muss müssen musste "
		"soll sollte sollten wollte darf dürfen wenn sein seine seiner seinem seinen ihr ihre ihrer ihrem ihren an "
		"oft lange groß ich wir sie uns mich mir dieser diese dieses diesem diesen kein keine keinen jeder jede "
		"jedes jedem jeden um bis gegen ohne seit ging wegen vom beim ab zwischen während man ihm ihn zeigt steht "
		"gilt heute", "äöüß" },
	{ "fr", "le la les un une des du de est sont était que qui quand où comment quel quelle quels quelles et dans "
		"pour avec ne pas a été combien pourquoi au aux par sur ce cette son sa ses leur ou ainsi mais nous vous",
		"quoi lequel laquelle lesquels lesquelles elle ils elles on se peut peuvent doit fait avait ont avoir être "
		"ces mes ma je tu qu sous sans chez depuis pendant appelle signifie y dont lui leurs très aussi", "àâçéèêëîïôùûœ" },
	{ "es", "el la los las un una del de es son era qué quién cuándo dónde cómo cuál cuáles y en para con no fue "
		"por cuántos cuántas al se su sus más como o entre sobre desde este esta fueron había",
		"a que como cuando cual cuales quien quiénes cuanto cuantos cuantas cuánto cuánta cuando donde adónde hay está están estaba tiene tienen tenía tenían "
		"hizo puede pueden debe deben ser sido muy lo le les nos yo tú usted ellos ella él según durante hasta hacia "
		"porque pero también ya todo todos toda todas cada otro otra otros otras llama llamaba significa mi eso esa "
		"ese", "áéíóúñ" },
	{ "it", "il lo la i gli le un una di del della è sono era che chi quando dove come quale quali e in per con "
		"non quanti perché al dal nel nella delle dei degli si più ed anche alla da sul questo",
		"quanto quanta quante cosa cos qual hanno aveva può possono deve fu furono essere stato stata ci l dell "
		"nell all sull suo sua suoi loro fra senza secondo durante dopo chiama significa io noi mi", "àèéìòù" },
	{ "pt", "o a os as um uma do da dos das é são era que quem quando onde como qual quais e em para com não foi "
		"quantos por ao aos à na nas nos pela pelo mais se entre sobre ou também",
		"quanto quanta quantas está estão estava tem têm havia há pode podem deve ser sido seu sua seus suas ele ela "
		"eles elas eu nós você lhe isto isso esta esse essa num numa até desde sem segundo durante depois chama "
		"significa", "ãõâêôçáéíóúà" },
	{ "nl", "de het een van is zijn was waren wat wie wanneer waar hoe welke en in voor met niet door hoeveel "
		"waarom dat die aan op te als bij uit ook maar naar deze dit worden werd om over",
		"wiens welk waarin waarop waarmee waarvoor waaruit waarvan hoelang heeft hebben had kan kunnen moet moeten "
		"mag zal wordt geworden heet heten betekent ligt er zich hun haar mijn ik wij je jij zij ze tot tussen tegen "
		"zonder sinds tijdens of na toen daar hier", "ëï" },
	{ "pl", "i w na z do jest są był była co kto kiedy gdzie jak który która które nie dla przez ile dlaczego się "
		"że od po oraz lub jako przy przed tylko tym",
		"jaki jaka jakie jakim jakich jakiego jakiej której którego którym których kogo czym czego czyj skąd dokąd "
		"czy były było został została ma mają może mogą ten ta te", "ąćęłńóśźż" },
	{ "sv", "och att det som är på av för med den till inte har var hur många vem vad när vilken vilket vilka ett "
		"en finns kan varför eller från så denna detta dess under efter vid mot även kunde",
		"vart varifrån vems hurdan blev blir hade heter betyder ligger han hon man sig sin sitt sina om kom de", "åäö" },
	{ "da", "og at det som er på af for med den til ikke har var hvor mange hvem hvad hvornår hvilken hvilket "
		"hvilke et en kan hvorfor eller fra så denne dette dens under efter ved mod også blev blive",
		"hvorfra hvordan hvis havde hedder betyder ligger bliver han hun man sig sin sit sine om kom de", "æøå" },
	{ "no", "og at det som er på av for med den til ikke har var hvor mange hvem hva når hvilken hvilket hvilke et "
		"en kan hvorfor eller fra så denne dette dens under etter ved mot også ble bli",
		"hvorfra hvordan hadde heter betyr ligger blir han hun man seg sin sitt sine om kom de", "æøå" },
	{ "fi", "ja on ei se että kuka mikä mitä missä milloin miten kuinka monta miksi ovat oli mistä onko kenen sekä "
		"myös tai hän joka jotka mutta kun sen olla hänen niin",
		"kenelle ketä mihin millä millainen minkä montako paljonko voiko oliko olivat ollut kenellä", "äö" },
	{ "cs", "je v na se jsou byl byla kdo co kdy kde jak který která které jaké jaký jaká pro kolik proč nebo má "
		"že od po jako při před pouze také kteří byly",
		"koho komu čím čeho čí odkud kam jakou jakého kterého kterou kterém kterých bylo byli mají může", "áčďéěíňóřšťúůýž" },
	{ "hu", "az és van mi ki mikor hol hogyan melyik mennyi hány miért egy nem volt hogy is ez azt meg vagy csak "
		"már még mint után által",
		"kit kinek mit hová honnan mekkora milyen melyek hányan vannak voltak lehet", "áéíóöőúüű" },
	{ "ro", "și este sunt ce cine când unde cum care în pentru nu cât câte câți fost din la cu pe mai sau o prin "
		"după fi acest această",
		"cui căruia cărui cărei căror avut avea lui lor", "ăâîșțşţ" },
	{ "tr", "ve bir bu ne kim nerede nasıl neden kaç hangi için ile mi mı nedir kimdir neresidir zaman olarak olan "
		"daha gibi kadar sonra çok ise veya olduğu tarafından",
		"kimin kime kimi nereye nereden niçin hangisi kaçıncı mıdır midir var yok oldu vardır mu mü", "çğıöşü" },
	{ "vi", "là gì của và ai khi nào ở đâu như thế có không những các bao nhiêu tại sao một trong được với cho này "
		"đã",
		"mấy lâu thì trên từ về", "ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ" },
	{ "id", "apa siapa kapan di mana bagaimana berapa yang dan dari untuk dengan adalah tidak mengapa ini itu pada "
		"oleh sebagai atau juga dalam ke telah",
		"siapakah apakah kapankah dimana kemana berapakah bagaimanakah ada bisa saya anda", "" },
	{ "uk", NULL, NULL, NULL },
	{ "th", NULL, NULL, NULL },
	{ "ru", NULL, NULL, NULL },
	{ "zh", NULL, NULL, NULL },
	{ "ja", NULL, NULL, NULL },
	{ "ko", NULL, NULL, NULL },
	{ "ar", NULL, NULL, NULL },
	{ "el", NULL, NULL, NULL },
	{ "he", NULL, NULL, NULL },
	{ "hi", NULL, NULL, NULL },
};
enum { SPANISH = 3, LANGUAGES = sizeof languages / sizeof languages[0] };

struct known { const char *at; size_t len; uint32_t in, asks; }; /* a bit a language; asks: of questions */
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

static void known_add(const char *words, uint32_t in, uint32_t asks)
{
	while (words && *words && known_n < WORDS_CAP) {
		size_t len = strcspn(words, " ");
		known[known_n++] = (struct known){ words, len, in, asks };
		words += len + (words[len] == ' ');
	}
}

static void known_make(void)
{
	size_t kept = 0;
	for (int i = 0; i < LANGUAGES; i++) {
		known_add(languages[i].words, 1u << i, 1u << i);
		known_add(languages[i].asking, 0, 1u << i);
	}
	qsort(known, known_n, sizeof *known, by_word);
	for (size_t i = 1; i < known_n; i++) {
		if (by_word(&known[kept], &known[i]) == 0) {
			known[kept].in |= known[i].in;
			known[kept].asks |= known[i].asks;
		} else {
			known[++kept] = known[i];
		}
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

static const struct known *known_find(const char *word, size_t len)
{
	struct known key = { word, len, 0, 0 };
	return bsearch(&key, known, known_n, sizeof *known, by_word);
}

/* What speaks for each language. */
struct tally {
	int question, words, counts[LANGUAGES]; /* counts: a document's function words; of a question the points below */
	char word[WORD_MAX + 4];                /* the one that is being read, in lower case */
	size_t n;
	int capital, foreign;                   /* its first letter is one; it has letters beside a to z */
};
enum { POINTS_WORD = 2, POINTS_LETTERS = 1, POINTS_MARK = 2 };

static int has_letter_of(const char *letters, const char *word, size_t len)
{
	for (size_t i = 0; letters && i < len;) {
		size_t from = i;
		if (utf8_next(word, len, &i) >= 0x80 && memmem(letters, strlen(letters), word + from, i - from)) return 1;
	}
	return 0;
}

static void word_end(struct tally *t)
{
	const struct known *k = t->n && t->n <= WORD_MAX ? known_find(t->word, t->n) : NULL;
	uint32_t in = !k ? 0 : t->question ? k->asks : k->in;
	for (int i = 0; in && i < LANGUAGES; i++) t->counts[i] += (t->question ? POINTS_WORD : 1) * (int)(in >> i & 1);
	for (int i = 0; t->question && t->foreign && !t->capital && i < LANGUAGES; i++)
		t->counts[i] += POINTS_LETTERS * has_letter_of(languages[i].letters, t->word, t->n);
	t->words += t->n > 0;
	t->n = 0;
	t->capital = t->foreign = 0;
}

static void word_letter(struct tally *t, uint32_t cp)
{
	uint32_t low = uni_tolower(cp);
	if (!t->n) t->capital = low != cp;
	t->foreign |= cp >= 0x80;
	if (t->n <= WORD_MAX) t->n += utf8_put(t->word + t->n, low);
}

/* Counts into *t; *script: the one of the letters, when they are not Latin and many. */
static void text_count(const char *text, size_t len, struct tally *t, const char **script)
{
	size_t i = 0, letters = 0, script_n = 0;
	int any = 0;
	*script = NULL;
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
			word_letter(t, (uint32_t)cp);
		} else {
			word_end(t);
			if (t->question && (cp == 0xbf || cp == 0xa1)) t->counts[SPANISH] += POINTS_MARK; /* ¿ ¡ */
		}
	}
	word_end(t);
	for (int k = 0; k < LANGUAGES; k++) any |= t->counts[k];
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
	struct tally t = { .question = 1 };
	const char *script;
	text_count(text, len, &t, &script);
	return script ? script : languages[most(t.counts)].code;
}

int language_is_english(const char *text, size_t len)
{
	return strcmp(language_of(text, len), "en") == 0;
}

const char *language_of_document(const char *text, size_t len)
{
	struct tally t = { .question = 0 };
	const char *script;
	int best;
	text_count(text, len > LOOKED_AT ? utf8_floor(text, len, LOOKED_AT) : len, &t, &script);
	best = most(t.counts);
	if (script) return script;
	return t.counts[best] >= SURE_FROM && 8 * t.counts[best] >= t.words && 2 * t.counts[best] >= 3 * t.counts[0]
		? languages[best].code : languages[0].code;
}
