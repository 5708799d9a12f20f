/* conf.h: every setting, in one table. service.conf is this table printed (`footnote conf`), and the file in the tree
 * is tested equal to it. Lines are "key = value", "#" opens a comment, unknown keys and values out of range are errors
 * that name file and line. Sizes take k, m, g (powers of 1024). Read once at start; not changed after. */
#ifndef API_CONF_H
#define API_CONF_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum { CONF_TEXT = 1024, CONF_LIST = 4096 };
struct conf {
	/* data */
	char data_dir[CONF_TEXT];           /* data.dir */
	char collection[65];                /* data.collection */
	uint64_t map_bytes;                 /* data.map_bytes */
	int readers_max;                    /* data.readers_max */
	int commands_max;                   /* data.commands_max: commands served through the Unix socket at once */
	/* models */
	char models_dir[CONF_TEXT];         /* models.dir */
	char models_mirror[CONF_TEXT];      /* models.mirror */
	char models_cache[CONF_TEXT];       /* models.cache */
	char embed_model[CONF_TEXT];        /* embed.model: name or path */
	int embed_threads;                  /* embed.threads, 0: one per core */
	char embed_kernel[16];              /* embed.kernel */
	char embed_device[8];               /* embed.device */
	int embed_max_tokens;               /* embed.max_tokens, 0: the model's */
	int embed_inputs_max;               /* embed.inputs_max: texts of one /v1/embeddings */
	char embed_query_prefix[256], embed_passage_prefix[256];
	char reader_model[CONF_TEXT];       /* models.reader: "": the built-in one; name or path; "none" */
	char generate_model[CONF_TEXT];     /* generate.model: name or path; "none": extractive only */
	char generate_small[CONF_TEXT];     /* generate.small: another, for questions that need no more */
	char generate_lora[CONF_TEXT];      /* generate.lora: adapters, "FILE[:SCALE], …" */
	int generate_threads;               /* generate.threads, 0: one per core */
	int generate_context;               /* generate.context */
	char generate_device[8];            /* generate.device */
	char generate_kernel[16];           /* generate.kernel */
	int generate_sequences;             /* generate.sequences: answers written together */
	uint64_t generate_kv_bytes;         /* generate.kv_bytes */
	double generate_chunk_ms;           /* generate.chunk_ms */
	int generate_draft;                 /* generate.draft: tokens guessed at once, 0: none */
	int generate_queue;                 /* generate.queue: requests waiting for the engine */
	/* index */
	char index_vectors[8];              /* index.vectors: f32 or f16 */
	char index_kind[8];                 /* index.kind: auto, exact, hnsw or ivf */
	char index_device[8];               /* index.device */
	int64_t device_least;               /* index.device_least */
	uint64_t index_memory_bytes;        /* index.memory_bytes, 0: no limit */
	int64_t ivf_probes, ivf_rerank;     /* index.ivf_probes, index.ivf_rerank */
	int hnsw_m, hnsw_ef_construction, hnsw_ef_search; /* index.hnsw_m … */
	int64_t exact_below;                /* index.exact_below */
	double rebuild_share;               /* index.rebuild_share */
	/* ingest */
	uint64_t file_bytes_max, text_bytes_max; /* ingest.* */
	int chunk_tokens, chunk_overlap_tokens, commit_docs, commit_ms, depth_max;
	int part_depth_max;
	uint64_t part_bytes_max;
	int parser_workers, parser_files, parser_seconds; /* ingest.parser_*: the processes that read files */
	uint64_t parser_memory_bytes, parser_output_bytes;
	char pdftotext[CONF_TEXT];          /* ingest.pdftotext: program */
	char pdftoppm[CONF_TEXT];           /* ingest.pdftoppm: program */
	int page_pixels;                    /* ingest.page_pixels: longer side of a drawn page */
	int watch_settle_ms, watch_rescan_s;/* ingest.watch_* */
	/* access */
	char acl_default[CONF_LIST];        /* acl.default: acl.h reads these three */
	char acl_rules[CONF_LIST];          /* acl.rules */
	char sources_roots[CONF_LIST];      /* sources.roots */
	int jobs_kept;                      /* sources.jobs_kept: finished jobs that are remembered */
	int sources_queue;                  /* sources.queue: jobs waiting */
	/* retention */
	double retention_days;              /* retention.days: 0: for ever */
	char retention_rules[CONF_TEXT];    /* retention.rules: "PATH DAYS, PATH DAYS" */
	/* search and answers */
	int search_k;                       /* search.k */
	int search_k_max;                   /* search.k_max */
	int search_depth;                   /* search.fuse_depth */
	int search_filter_bytes;            /* search.filter_bytes */
	int search_facet_values;            /* search.facet_values */
	char search_fusion[16];             /* search.fusion: weighted or rrf */
	double search_rrf_k;                /* search.rrf_k */
	double search_word_weight;          /* search.word_weight */
	double bm25_k1, bm25_b;             /* search.bm25_k1, search.bm25_b */
	int search_terms_max;               /* search.terms_max */
	int parts;                          /* search.parts */
	double parts_weight;                /* search.parts_weight */
	int rerank;                         /* search.rerank */
	double rerank_weight;               /* search.rerank_weight */
	int rerank_documents_max;           /* rerank.documents_max: texts of one /v1/rerank */
	uint64_t rerank_bytes_max;          /* rerank.bytes_max */
	int search_exact_max;               /* search.exact_max */
	int search_similar_max;             /* search.similar_max */
	int search_phrase_max;              /* search.phrase_max */
	uint64_t words_memory_bytes;        /* search.words_memory_bytes */
	int answer_passages;                /* answer.passages: passages looked at */
	int answer_context_tokens;          /* answer.context_tokens: budget of passage text in the prompt */
	int answer_max_tokens;              /* answer.max_tokens */
	int answer_sentences_max;           /* answer.sentences_max */
	int answer_screen;                  /* answer.screen: sentences that give orders to a language model are left out */
	double answer_confidence;           /* answer.confidence: probability of being right under which it abstains */
	double answer_support;              /* answer.support: support a written sentence must reach to be kept */
	char answer_unsupported[8];         /* answer.unsupported: "remove" or "mark" */
	char answer_judge[8];               /* answer.judge: "auto", "none" or "own" */
	double answer_judge_scale, answer_judge_shift; /* answer.judge_scale, answer.judge_shift */
	double answer_refusal;              /* answer.refusal: log-odds of the model's refusal over which it abstains */
	char answer_prompt[64];             /* answer.prompt: template, "answer" or "answer@1" */
	int answer_spelling;                /* answer.spelling */
	char answer_rewrite[8];             /* answer.rewrite: "none", "rules" or "model" */
	int answer_rewrite_tokens;          /* answer.rewrite_tokens */
	double answer_rewrite_s;            /* answer.rewrite_s */
	int answer_history_turns;           /* answer.history_turns */
	double route_extractive, route_small; /* answer.route_*: tier.h */
	int question_chars_max;             /* answer.question_chars_max */
	double answer_deadline_s;           /* answer.deadline_s */
	int summary_sentences_max, summary_parts_max, summary_context_tokens, summary_max_tokens; /* summary.* */
	int64_t summary_chars_max;          /* summary.chars_max */
	int summary_documents_max;          /* summary.documents_max */
	char summary_prompt[64];            /* summary.prompt */
	char assist_prompt[64], assist_tone[CONF_TEXT], assist_tones[CONF_LIST], assist_greeting[CONF_TEXT], assist_closing[CONF_TEXT];
	char assist_ask_about[CONF_TEXT], assist_tickets[CONF_TEXT]; /* assist.* */
	double assist_similarity;           /* assist.similarity */
	int assist_tone_chars, assist_questions, assist_similar; /* assist.tone_chars_max, assist.questions_max, assist.similar_max */
	uint64_t batches_bytes;             /* batches.bytes_max */
	int batches_lines, batches_queue;   /* batches.lines_max, batches.queue */
	double batches_days;                /* batches.days */
	int gaps_kept;                      /* gaps.kept */
	double gaps_days, gaps_similarity;  /* gaps.days, gaps.similarity */
	char prompts_dir[CONF_TEXT];        /* prompts.dir */
	char questions[8];                  /* audit.questions: "hash" or "keep" */
	/* what is remembered of answers, and what they cost */
	int keep_max;                       /* answers.keep_max: records, 0: none */
	double keep_days;                   /* answers.keep_days: 0: for ever */
	int keep_commit_ms;                 /* answers.commit_ms */
	uint64_t cache_bytes;               /* answers.cache_bytes, 0: no cache */
	double cache_cosine;                /* answers.cache_cosine, 0: only equal questions */
	int usage_days;                     /* usage.keep_days */
	double price_prompt, price_completion; /* price.prompt_1k, price.completion_1k: of a thousand tokens */
	double price_hour;                  /* price.hour: of an hour's work */
	/* serve */
	char listen[128];                   /* serve.listen */
	int http_threads;                   /* serve.threads: epoll threads */
	int connections_max;                /* serve.connections_max */
	int idle_timeout_s;                 /* serve.idle_timeout_s */
	uint64_t body_bytes_max;            /* serve.body_bytes_max */
	int search_threads, search_queue;   /* serve.search_threads, serve.search_queue */
	int answer_threads, answer_queue;   /* serve.answer_threads, serve.answer_queue */
	int write_queue;                    /* serve.write_queue */
	double drain_s;                     /* serve.drain_s */
	char log_level[8];                  /* log.level */
};

void conf_default(struct conf *c);
int conf_load(struct conf *c, const char *path, struct err *e);         /* over what is in c; E_NOT_FOUND, E_USAGE */
int conf_set(struct conf *c, const char *key, const char *value, struct err *e);
int conf_check(const struct conf *c, struct err *e);                    /* what no single value can tell: E_USAGE */
int conf_print(const struct conf *c, struct buf *out);                  /* the commented manual, with c's values */
/* Setting i as texts; 0 past the end. */
struct conf_row { const char *key, *unset, *help; char value[CONF_LIST]; };
int conf_row_at(const struct conf *c, size_t i, struct conf_row *out);
/* Writes "key = value" into the file at path, in the place of that key's line or at the end; everything else stays as
 * it is. A missing file is made. E_USAGE when the value is not allowed or the file is not one that conf_load takes. */
int conf_file_set(const char *path, const char *key, const char *value, struct err *e);

#endif
