/* command.c: the table of verbs, and what their files share: options, error lines, one JSON object a line.
 * Threads: the table is constant; a command_call belongs to the thread that runs it. */
#include "api/command.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/auth.h"
#include "api/view.h"
#include "base/mem.h"

enum { LINE_STACK_BYTES = 1024 };

static const struct command commands[] = {
	{"ingest", "ingest PATH... [--watch] [--acl G,G] [--meta k=v] [--prune] [--dry-run]",
		"Brings files and folders into the store. Each file gets a verdict (added, updated, unchanged, duplicate,\n"
		"removed, partial, skipped, failed) with the reason, told once it is safely stored.\n\n"
		"  --watch       stay, and follow what changes until Ctrl-C\n"
		"  --acl G,G     only readers of these groups see the documents; \"\" opens them to everyone. Without it the rules\n"
		"                of acl.rules hold; files that none fits keep their groups, new ones get acl.default\n"
		"  --meta k=v    kept with each document; may be given several times\n"
		"  --prune       also remove documents whose files are gone from the folders named\n"
		"  --dry-run     tell what would be done, store nothing\n\n"
		"Example: footnote ingest ~/handbook --prune\n", cmd_ingest, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"search", "search QUERY [-k N] [--mode hybrid|dense|lexical] [--filter EXPR] [--group document] [--as G,G] [--explain]",
		"Passages that fit the query, best first.\n\n"
		"  -k N          how many (default: search.k)\n"
		"  --mode M      hybrid: by meaning and by words (default); dense: by meaning; lexical: by words, for which no\n"
		"                embedder is needed\n"
		"  --filter E    only of documents it holds for: key = \"v\", !=, <, <=, >, >=, key in (\"v\", …), exists(key), and,\n"
		"                or, not, parentheses. Keys: meta.NAME, source, type, added, updated. Texts and times are quoted,\n"
		"                numbers, true and false are not: meta.year >= 2020, added < \"2026-03-01\". What ingest --meta\n"
		"                gives is text. Of a folder: source >= \"/srv/a/\" and source < \"/srv/a0\"\n"
		"  --group document   of each document only its best passage\n"
		"  --as G,G      as a reader of these groups would see it\n"
		"  --explain     what each score is made of\n\n"
		"Example: footnote search \"notice period\" -k 5 --filter 'type = \"pdf\" and updated >= \"2025-01-01\"'\n", cmd_search, 0, COMMAND_OWNED},
	{"why-not", "why-not QUERY DOCUMENT [-k N] [--mode M] [--filter EXPR] [--group document] [--as G,G]",
		"Where a document comes in a search, or which step keeps it out: it is in another collection, the reader does not\n"
		"see it, the filter leaves it out, it has no text, it lacks a quoted phrase, it is not near enough to be looked at,\n"
		"it loses when the rankings are joined, it comes behind the first N. With its rank in each ranking, the score it\n"
		"would need, and the words of the query that it lacks. DOCUMENT is an id or a source; the options are those of\n"
		"search.\n\n"
		"Example: footnote why-not \"notice period\" ~/handbook/contracts.md\n", cmd_whynot, 0, COMMAND_OWNED},
	{"ask", "ask QUESTION [--filter EXPR] [--as G,G] [--prompt NAME[@V]] [--extractive] [--no-stream] [--history JSON]",
		"Answers from the documents. Each sentence carries marks like [1]; below stand the quotes they rest on.\n\n"
		"  --filter E    only from documents it holds for, as search has it\n"
		"  --as G,G      as a reader of these groups would see it\n"
		"  --prompt N    prompt template, with @V a version of it\n"
		"  --extractive  quote sentences, without the language model\n"
		"  --no-stream   print when the answer is complete\n"
		"  --history J   what was said before: [{\"role\":\"user\" or \"assistant\",\"content\":\"…\"}]\n\n"
		"Example: footnote ask \"How many days of leave do I have?\"\n", cmd_ask, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"chat", "chat [--filter EXPR] [--as G,G] [--prompt NAME[@V]] [--extractive] [--no-stream]",
		"Questions line by line from standard input, each answered as ask answers it. What was said before is remembered\n"
		"(answer.history_turns), so that \"and in winter?\" is understood. /new forgets it, /quit or the end of input ends.\n"
		"With --json an answer object a line.\n\n"
		"  The options are those of ask.\n\n"
		"Example: footnote chat --extractive\n", cmd_chat, NEED_EMBEDDER | NEED_GPU, COMMAND_TALK},
	{"batch", "batch IN.jsonl -o OUT.jsonl [--resume] [--as G,G]",
		"Answers many questions: a line {\"id\",\"question\", …} of IN becomes a line {\"id\",\"answer\",\"error\"} of OUT,\n"
		"in the same order, written as soon as it is known. Beside the question a line may have history, collection,\n"
		"filter, k, style, prompt, max_tokens, temperature, seed and as, as POST /v1/answers has. Exit code 1 when some failed.\n\n"
		"  -o OUT        the file to write; one that is there already is not touched, unless\n"
		"  --resume      it is the beginning of this batch: goes on behind its last whole line\n"
		"  --as G,G      as a reader of these groups would see it; a line's own as narrows that\n\n"
		"Example: footnote batch questions.jsonl -o answers.jsonl\n", cmd_batch, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"gaps", "gaps [--limit N] [--least N] [--as G,G]",
		"Questions of the collection that found nothing, were abstained from or got a thumb down, in clusters of like ones, the largest\n"
		"first, with the documents that came nearest. Texts of questions are shown where audit.questions = keep.\n\n"
		"  --limit N     at most so many clusters (default 50)\n"
		"  --least N     only clusters of so many questions\n"
		"  --as G,G      name only documents that a reader of these groups sees\n\n"
		"Example: footnote gaps --least 3\n", cmd_gaps, 0, COMMAND_OWNED},
	{"assist", "assist FILE.json [--tone T] [--filter EXPR] [--as G,G] [--extractive]",
		"Suggests a support agent's reply to a customer, each sentence with a footnote, questions to ask next, and similar\n"
		"past tickets (assist.tickets). FILE holds the thread as POST /v1/assist takes it:\n"
		"{\"messages\":[{\"role\":\"customer\" or \"agent\",\"text\":…}, …]}, and may have collection, filter, tone, style, as.\n\n"
		"  --tone T      a name of assist.tones, or how it should sound in words\n"
		"  --filter E    only from documents it holds for, as search has it\n"
		"  --as G,G      as a reader of these groups would see it\n"
		"  --extractive  quote sentences, without the language model\n\n"
		"Example: footnote assist thread.json --tone formal\n", cmd_assist, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"summarize", "summarize DOCUMENT | --filter EXPR [--sentences N] [--as G,G] [--prompt NAME[@V]] [--extractive] [--no-stream]",
		"A summary of a long document, or of all that a filter leaves, each sentence with a footnote. DOCUMENT is an id or a\n"
		"source.\n\n"
		"  --filter E    of the documents it holds for, as search has it\n"
		"  --sentences N at most so many (default and most: summary.sentences_max)\n"
		"  --as G,G      as a reader of these groups would see it\n"
		"  --prompt N    prompt template, with @V a version of it\n"
		"  --extractive  quote the main sentences, without the language model\n"
		"  --no-stream   print when the summary is complete\n\n"
		"Example: footnote summarize ~/handbook/travel.md --sentences 5\n", cmd_summarize, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"serve", "serve [--listen ADDR:PORT]",
		"Serves the page and the HTTP interface until it is stopped (Ctrl-C). Other commands work beside it.\n\n"
		"  --listen A:P  address and port (default: serve.listen)\n\n"
		"Example: footnote serve --listen 127.0.0.1:8080\n", cmd_serve, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNER},
	{"docs", "docs list [--limit N] [--verdict V] | docs show ID | docs text ID",
		"list: the documents of the collection. show: one of them. text: its extracted text, as quotes are\n"
		"taken from it.\n\n"
		"  --limit N     at most so many\n"
		"  --verdict V   skipped, failed, partial …: documents with that verdict, also those without text\n\n"
		"Example: footnote docs list --limit 20\n", cmd_docs, 0, COMMAND_OWNED},
	{"delete", "delete ID | --source PATH",
		"Removes a document with its text, chunks and vectors. It is hidden at once.\n\n"
		"Example: footnote delete --source ~/handbook/old.md\n", cmd_delete, 0, COMMAND_OWNED},
	{"erase", "erase ID | --source PATH | --list",
		"Removes a document and every byte of it: it is hidden at once, the store's file is written anew without it, and\n"
		"the new file is read from end to end to prove that nothing of it is left. Prints a receipt, which holds hashes\n"
		"only. Records of files with the same content go with it. Backups made before still hold it.\n"
		"Searches go on meanwhile, writes wait.\n\n"
		"  --list        the receipts there are\n\n"
		"Example: footnote erase --source ~/handbook/old.md\n", cmd_erase, 0, COMMAND_OWNED},
	{"hold", "hold add ID|--source PATH [--reason TEXT] | hold remove ID|--source PATH | hold list",
		"A document on hold is neither removed nor replaced, by whatever command, until the hold is removed: delete and\n"
		"erase are refused (exit code 5), ingest, --prune and retention skip it and say so. The attachments of a mail are\n"
		"held with it and freed with it. A held document that repeats another keeps that other, which has the text.\n\n"
		"  --reason T    told wherever the hold is in the way; without it a hold that is there keeps its reason\n\n"
		"Example: footnote hold add --source ~/mail/offer.eml --reason \"case 17\"\n", cmd_hold, 0, COMMAND_OWNED},
	{"retention", "retention show | retention apply [--dry-run]",
		"Documents older than the settings keep them (retention.days, retention.rules). Age counts from when the content\n"
		"last changed: for a file, its time of change; for an attachment, that of its mail. show: what is due now, and\n"
		"what each rule will take when. apply: removes what is due, but what is on hold. Nothing that is stored is removed\n"
		"unless this command is run: run it daily, or never. Later syncs skip files that are older than that.\n\n"
		"  --dry-run     tell what would be removed, remove nothing\n\n"
		"Example: footnote retention apply --dry-run\n", cmd_retention, 0, COMMAND_OWNED},
	{"check", "check [--repair]",
		"Reads the whole store and tells what does not fit together. Exit code 4 when something does not.\n\n"
		"  --repair      mend it first, as far as truth allows, and tell each thing mended: references, counters, words\n"
		"                and graphs are made anew, a damaged vector is embedded again, a document whose text is damaged\n"
		"                is read again at the next sync. No text that can be read is removed. Make a backup before\n\n"
		"Example: footnote check --repair\n", cmd_check, 0, COMMAND_OWNED},
	{"stats", "stats",
		"Figures of the store and its collections.\n\n"
		"Example: footnote stats --json\n", cmd_stats, 0, COMMAND_OWNED},
	{"keys", "keys add NAME [--groups G,G] [--role admin|write|read] [--expires DATE] | keys list | keys revoke NAME|ID",
		"Access keys of the HTTP service. While there is one, every request to /v1 and /metrics must carry one\n"
		"(Authorization: Bearer KEY), and the service may listen beyond this machine. A change holds at once. Without\n"
		"keys only this machine is served, and sees every document.\n\n"
		"add: prints the new key, once; only its hash is kept. revoke: ends it.\n\n"
		"  --groups G,G  it sees documents of these groups and those for everyone; '*': every document; without it\n"
		"                only those for everyone\n"
		"  --role R      read: search, ask, read documents (the default); write: also add and remove documents and\n"
		"                name folders; admin: also keys (with no more groups than its own), figures of the whole\n"
		"                store and, if it has every group, backups\n"
		"  --expires D   a date (to its end, UTC) or a moment like 2026-12-31T12:00:00Z\n\n"
		"Example: footnote keys add web --groups staff --role read\n", cmd_keys, 0, COMMAND_OWNED},
	{"reembed", "reembed --model M | --rollback | --forget",
		"Gives every stored chunk a vector of another embedder, and then turns to it in one step. Until then searches go on\n"
		"with the vectors there are, and documents may come and go; a service that runs needs no restart. What was done stays\n"
		"when this is interrupted or killed: the same command goes on there. The text is not read or cut anew.\n\n"
		"The vectors of the model before are kept, in this store, until --forget or until the next reembed to a third model;\n"
		"backups hold them too, compact leaves them alone, erase takes a document's from both.\n\n"
		"  --model M     a model's name (footnote models list) or its folder\n"
		"  --rollback    turn back to the model before: only what came since is embedded\n"
		"  --forget      drop the vectors beside: those kept, or those of a reembed that is not done\n\n"
		"embed.query_prefix and embed.passage_prefix hold for the new model too, where they are set. Set embed.model to\n"
		"it afterwards; while it names the model before, the store's own is used and says so.\n\n"
		"Example: footnote reembed --model bge-small-en-v1.5\n", cmd_reembed, NEED_GPU, COMMAND_OWNED},
	{"compact", "compact",
		"Writes the store's file anew without the room that removed documents left in it. Searches go on, writes wait\n"
		"until it is done. Needs free disk for the new file beside the old one.\n\n"
		"Example: footnote compact\n", cmd_compact, 0, COMMAND_OWNED},
	{"backup", "backup FILE",
		"Writes the whole store into one file, as it is at this moment, also while the service runs. An existing file is\n"
		"never replaced.\n\n"
		"Example: footnote backup /backups/footnote-monday\n", cmd_backup, 0, COMMAND_OWNED},
	{"restore", "restore FILE [--force]",
		"Makes a backup the store of the data folder. The backup is read and checked whole before anything is replaced.\n"
		"The service must not be running on the data folder.\n\n"
		"  --force       replace the store that the folder holds\n\n"
		"Example: footnote --data ./data restore /backups/footnote-monday\n", cmd_restore, 0, COMMAND_ALONE},
	{"eval", "eval DIR [--answers] [--extractive] [--prompt NAME@V] [--mode M] [--gate FILE] [--limit N]",
		"Scores a question set: the folder is synced into a collection of its own, eval-NAME, and its questions\n"
		"are asked.\n\n"
		"  --answers     also write and score answers\n"
		"  --extractive  those by quoting, without the language model\n"
		"  --prompt N    those with this prompt template\n"
		"  --mode M      how passages are searched: hybrid (default), dense, lexical; answers always use hybrid\n"
		"  --gate FILE   fail when a figure is under the file's floor\n"
		"  --limit N     only the first N questions\n\n"
		"Example: footnote eval questions/handbook --answers\n", cmd_eval, NEED_EMBEDDER | NEED_GPU, COMMAND_OWNED},
	{"bench", "bench embed --texts F.jsonl [--limit N] | bench generate [--model M] [-p P] [-n N] [--parallel S] | bench index …"
		" | bench store --texts F [--limit N] | bench words SET",
		"Measures this machine. embed: texts and tokens a second, and the time of a short query; F has lines\n"
		"{\"text\"[,\"title\"]}. generate: tokens of prompts read and of texts written a second, until the first token, and\n"
		"bytes of weights a second. Medians over several runs. index: search by vector in a store of its own: recall of the 10\n"
		"best and queries a second of processor time, exactly, by graph and by lists at several efforts, for readers of a share.\n"
		"store: chunks of a hundred words that a store of its own takes in a second, vectors given, every commit on disk.\n"
		"words: searches by words a second of processor time over a question set (corpus.jsonl, queries.jsonl, qrels.tsv), in a\n"
		"store of its own, and how good they are.\n\n"
		"  --texts F     the texts to embed; --limit N: only the first N\n"
		"  --queries Q   index: what is asked, likewise; F and Q may also be vectors (name.fvecs)\n"
		"  --folder D    index: a new folder for the store and for both sets of vectors; it stays, and is measured again\n"
		"                where it is named without F and Q\n"
		"  --kinds K     index: hnsw, ivf or hnsw,ivf (for a new folder)\n"
		"  -p P, -n N    tokens of a prompt made of words (default 512), tokens written (default 64)\n"
		"  --parallel S  so many texts written together; figures are of all of them\n"
		"  --prompt F    instead of -p: the file's text is asked as a question is; the answer ends where it ends\n"
		"  --draft N     with --prompt: up to N tokens looked up in the text and tried at once (default 0)\n"
		"  --model M, --kernel K, --threads N    instead of what the settings say\n"
		"  -k K, --tokens F    of words: hits a search (default 10); write the words of documents and questions to F\n"
		"  --repeat N    runs (default 3; of words 5)\n\n"
		"Example: footnote bench generate --model qwen-0.5b -p 512 -n 64\n", cmd_bench, 0, COMMAND_LOCAL},
	{"doctor", "doctor",
		"Looks at this machine: CPU features, models, memory, disk, port; tells what to expect. Changes nothing.\n\n"
		"Example: footnote doctor\n", cmd_doctor, 0, COMMAND_LOCAL},
	{"models", "models list | fetch [NAME...] | verify [NAME...] | add FILE|FOLDER | use NAME",
		"list: models known and present. fetch: download (without a name the default embedder and generator),\n"
		"checked by checksum. verify: read again and compare. add: take a GGUF file or an embedder's folder from\n"
		"disk. use: write the model into service.conf.\n\n"
		"Example: footnote models fetch all-minilm-l6-v2\n", cmd_models, 0, COMMAND_LOCAL},
	{"prompts", "prompts list | show NAME[@V] | add FILE | use NAME@V [--gate FILE --eval DIR] | diff A B",
		"Versioned prompt templates. A name is TASK or TASK-VARIANT (answer, answer-formal); a version never changes.\n"
		"list: all of them, and which one each task uses. show: the text. add: takes NAME.vN.txt, or NAME.txt as the next\n"
		"version; its placeholders are checked. use: the task uses this version from the next question on, without a\n"
		"restart. diff: the lines in which two differ.\n\n"
		"  --eval DIR    score this question set with the version first, and\n"
		"  --gate FILE   leave everything as it is (exit code 1) when a figure is under the file's floor\n\n"
		"Example: footnote prompts use answer@2 --gate floors.json --eval questions/handbook\n", cmd_prompts, 0, COMMAND_OWNED},
	{"experiments", "experiments list | start FILE | stop NAME | show NAME | export NAME | remove NAME",
		"Splits the questions that come in over HTTP between arms and counts what becomes of each: answered, refused, times,\n"
		"tokens, ratings, with 95 % intervals. One experiment runs at a time. The same asker (the request's user, else its\n"
		"key, else the question) always comes into the same arm. A request that chooses its own prompt, style, k or max_tokens\n"
		"stays outside. start: takes a file {\"name\",\"arms\":[{\"name\",\"share\",\"prompt\",\"style\",\"settings\":{key:value}}]};\n"
		"shares sum to 100. export: the figures as CSV, with --json as JSON. remove: forgets one that was stopped.\n\n"
		"Settings of an arm: search.fuse_depth, search.fusion, search.word_weight, search.rrf_k, search.rerank,\n"
		"search.rerank_weight, search.exact_max, answer.passages, answer.context_tokens, answer.max_tokens,\n"
		"answer.sentences_max, answer.confidence, answer.support, answer.refusal,\n"
		"answer.route_extractive, answer.route_small\n\n"
		"Example: footnote experiments start formal.json\n", cmd_experiments, 0, COMMAND_OWNED},
	{"conf", "conf",
		"Prints service.conf: every setting with its meaning, range, default and the value in force.\n\n"
		"Example: footnote conf > service.conf\n", cmd_conf, 0, COMMAND_LOCAL},
};
enum { COMMAND_N = sizeof commands / sizeof *commands };

const struct command *command_at(size_t i)
{
	return i < COMMAND_N ? &commands[i] : NULL;
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_N; i++)
		if (strcmp(commands[i].name, name) == 0) return &commands[i];
	return NULL;
}

int out_printf(struct out *o, int stream, const char *fmt, ...)
{
	char line[LINE_STACK_BYTES], *text = line;
	va_list ap;
	int len, rc;
	va_start(ap, fmt);
	len = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (len < 0) return 1;
	if ((size_t)len >= sizeof line) {
		text = mem_alloc((size_t)len + 1);
		if (!text) return 1;
		va_start(ap, fmt);
		vsnprintf(text, (size_t)len + 1, fmt, ap);
		va_end(ap);
	}
	rc = o->write(o->ctx, stream, text, (size_t)len);
	if (rc) o->broken = 1;
	if (text != line) mem_free(text);
	return rc;
}

/* ---- options ---- */

/* When arg is --name or --name=value: 1, and *inline_value is behind the "=" or NULL. */
static int option_is(const char *arg, const char *name, const char **inline_value)
{
	size_t n = strlen(name);
	if (strncmp(arg, name, n) != 0) return 0;
	*inline_value = NULL;
	if (arg[n] == 0) return 1;
	if (arg[n] != '=' || n < 3) return 0;
	*inline_value = arg + n + 1;
	return 1;
}

static int option_value(int argc, char **argv, int *i, const char *inline_value, const char **value, struct err *e)
{
	if (inline_value) *value = inline_value;
	else if (*i + 1 < argc) *value = argv[++*i];
	else return err_set(e, E_USAGE, "%.60s needs a value", argv[*i]);
	return OK;
}

int common_parse(struct common_options *o, int argc, char **argv, struct err *e)
{
	const struct { const char *name; const char **to; } valued[] = {
		{"-c", &o->conf}, {"--data", &o->data}, {"--collection", &o->collection}, {"--models", &o->models},
	};
	const struct { const char *name; int *to; } flags[] = {
		{"--json", &o->json}, {"-q", &o->quiet}, {"-h", &o->help}, {"--help", &o->help}, {"--version", &o->version},
	};
	int i, rc, found, kept = 0;
	memset(o, 0, sizeof *o);
	for (i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *inline_value;
		found = 0;
		for (size_t k = 0; k < sizeof valued / sizeof *valued && !found; k++) {
			if (!option_is(argv[i], valued[k].name, &inline_value)) continue;
			rc = option_value(argc, argv, &i, inline_value, valued[k].to, e);
			if (rc) return rc;
			found = 1;
		}
		for (size_t k = 0; k < sizeof flags / sizeof *flags && !found; k++)
			if (strcmp(argv[i], flags[k].name) == 0) *flags[k].to = found = 1;
		if (!found) argv[kept++] = argv[i];
	}
	while (i < argc) argv[kept++] = argv[i++];
	o->argc = kept;
	o->argv = argv;
	return OK;
}

static int pair_put(const struct option *o, const char *value, struct err *e)
{
	const char *eq = strchr(value, '=');
	char key[128];
	if (!eq || eq == value || (size_t)(eq - value) >= sizeof key)
		return err_set(e, E_USAGE, "%s %.60s: must be key=value", o->name, value);
	memcpy(key, value, (size_t)(eq - value));
	key[eq - value] = 0;
	cJSON_DeleteItemFromObjectCaseSensitive(o->to, key);
	return cJSON_AddStringToObject(o->to, key, eq + 1) ? OK : err_set(e, E_MEMORY, "out of memory");
}

static int option_put(const struct option *o, const char *value, struct err *e)
{
	char *end;
	long v;
	if (o->kind == OPTION_PAIR) return pair_put(o, value, e);
	if (o->kind == OPTION_TEXT) {
		*(const char **)o->to = value;
		return OK;
	}
	errno = 0;
	v = strtol(value, &end, 10);
	if (end == value || *end || errno || v < o->min || v > o->max)
		return err_set(e, E_USAGE, "%s %.60s: must be a whole number from %ld to %ld", o->name, value, o->min, o->max);
	*(long *)o->to = v;
	return OK;
}

/* Option argv[*i] of the call into its place; *i moves behind its value. */
static int option_read(struct command_call *c, int *i, const struct option *o, size_t n, struct err *e)
{
	const char *value = NULL, *arg = c->argv[*i];
	int rc;
	for (size_t k = 0; k < n; k++) {
		if (!option_is(arg, o[k].name, &value)) continue;
		if (o[k].kind == OPTION_ABSENT) return err_set(e, E_UNSUPPORTED, "%s is not in this version", o[k].name);
		if (o[k].kind == OPTION_FLAG) {
			if (value) return err_set(e, E_USAGE, "%s takes no value", o[k].name);
			*(int *)o[k].to = 1;
			return OK;
		}
		rc = option_value(c->argc, c->argv, i, value, &value, e);
		return rc ? rc : option_put(&o[k], value, e);
	}
	return err_set(e, E_USAGE, "unknown option %.60s (text that begins with a dash goes behind --)", arg);
}

int options_parse(struct command_call *c, const struct option *o, size_t n, struct err *e)
{
	int kept = 1, i, rc;
	for (i = 1; i < c->argc; i++) {
		if (strcmp(c->argv[i], "--") == 0) {
			i++;
			break;
		}
		if (c->argv[i][0] != '-' || c->argv[i][1] == 0) {
			c->argv[kept++] = c->argv[i];
			continue;
		}
		rc = option_read(c, &i, o, n, e);
		if (rc) return rc;
	}
	while (i < c->argc) c->argv[kept++] = c->argv[i++];
	c->argc = kept;
	return OK;
}

int command_reader(struct command_call *c, const char *as, struct arena *a, struct reader *r, struct err *e)
{
	const char *const *groups;
	size_t n;
	int rc;
	*r = (struct reader){ .collection = c->collection, .all_groups = 1 };
	if (!as) return OK;
	rc = groups_split(as, a, &groups, &n, e);
	if (!rc) rc = reader_narrow(r, groups, n, a, e);
	return rc ? err_wrap(e, "--as") : OK;
}

int command_filter(struct command_call *c, const char *text, struct reader *r, struct filter **keep, struct err *e)
{
	int rc = text ? filter_parse(keep, text, strlen(text), (size_t)c->conf->search_filter_bytes, e) : OK;
	if (!text) *keep = NULL;
	r->filter = *keep;
	return rc;
}

int command_words(struct command_call *c, const char *what, struct arena *a, const char **text, struct err *e)
{
	size_t len = 1;
	char *p;
	if (c->argc < 2) return err_set(e, E_USAGE, "%s is missing", what);
	for (int i = 1; i < c->argc; i++) len += strlen(c->argv[i]) + 1;
	*text = p = arena_alloc(a, len);
	if (!p) return err_set(e, E_MEMORY, "out of memory");
	for (int i = 1; i < c->argc; i++) {
		size_t n = strlen(c->argv[i]);
		if (i > 1) *p++ = ' ';
		memcpy(p, c->argv[i], n);
		p += n;
	}
	*p = 0;
	return OK;
}

/* ---- output ---- */

int command_fail(struct command_call *c, const struct err *e)
{
	if (c->out->broken) return EXIT_SOME_FAILED;
	out_printf(c->out, 2, "footnote: %s\n", e->msg);
	return view_exit_code(e->status);
}

int command_misused(struct command_call *c, const struct err *e)
{
	const struct command *me = command_find(c->argv[0]);
	int code = command_fail(c, e);
	if (me && e->status == E_USAGE) out_printf(c->out, 2, "usage: footnote %s\n", me->usage);
	return code;
}

int command_json(struct command_call *c, cJSON *object, struct err *e)
{
	char *text = object ? cJSON_PrintUnformatted(object) : NULL;
	int rc = OK;
	cJSON_Delete(object);
	if (!text) return err_set(e, E_MEMORY, "output: out of memory");
	if (out_printf(c->out, 1, "%s\n", text)) rc = err_set(e, E_CANCELLED, "the reader of the output left");
	cJSON_free(text);
	return rc;
}
