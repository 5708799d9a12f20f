# Footnote. `make help` lists the targets.
CACHE   ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/footnote
FAISS   := $(CACHE)/faiss-1.7.3-avx2
BUILD   ?= build
# The CUDA toolkit that nn/*.cu is compiled with: tools/cuda.sh says where it is looked for. None (CUDA=): built without.
CUDA    ?= $(shell tools/cuda.sh find)
CUDA    := $(CUDA)
CC      := gcc
CXX     := g++
# CFLAGS, CXXFLAGS and LDFLAGS are the caller's own. OPT chooses between the kinds of build, each in a BUILD folder of its own.
WARN    := -Wall -Wextra -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wundef -Wvla
OPT     ?= -O2 -g -fno-omit-frame-pointer
C_FLAGS   = -std=gnu11 $(OPT) $(WARN) -I. -I$(BUILD) -pthread -D_GNU_SOURCE -MMD -MP $(CFLAGS)
CXX_FLAGS = -std=c++17 $(OPT) -Wall -Wextra -I. -isystem $(FAISS)/include -pthread -MMD -MP $(CXXFLAGS)
# Before anything is compiled: the packages are there. Before what sees FAISS is compiled: FAISS is.
PACKAGES := $(BUILD)/packages.ok

ROOMS   := base nn embed generate index ingest api
LIBS_base     := -lutf8proc -lcrypto -lcjson -lstemmer -larchive
LIBS_nn       := -lopenblas -lm
LIBS_index    := -llmdb $(FAISS)/lib/libfaiss_c.a $(FAISS)/lib/libfaiss_avx2.a -lopenblas -lgomp -lstdc++ -lm
LIBS_ingest   := -lseccomp -lmd4c -lgumbo -lmagic -luchardet -lcsv -lxml2 -lgmime-3.0 -lgobject-2.0 -lglib-2.0
LIBS_api      := -lmicrohttpd
# Rooms that a room's tests link, lowest last.
NEED_base     := base
NEED_nn       := nn base
NEED_embed    := embed nn base
NEED_generate := generate nn base
NEED_index    := index base
NEED_ingest   := ingest index embed nn base
NEED_api      := api ingest index embed generate nn base

# nn/*.cu by nvcc, with the runtime linked in: the program starts without a driver.
CUDA_LENIENT := -Wno-unused-function -Wno-missing-field-initializers -Wno-deprecated-enum-enum-conversion
COMMA := ,
SPACE := $(subst ,, )
CUDA_WITHOUT := $(if $(CUDA),nn/gpu_none.c)
LIBS_nn      += $(if $(CUDA),$(firstword $(wildcard $(CUDA)/lib*/libcudart_static.a)) -ldl -lrt) -lstdc++
NVCC_FLAGS   := -std=c++20 -O3 -t 2 -fmad=false -I. -MMD -MP -Xcompiler -Wall,-Wextra,$(subst $(SPACE),$(COMMA),$(CUDA_LENIENT)) \
	-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
# The same sources for the host, over an emulator (tests/nn/cuda_host.h): linked into the tests of rooms that can use a GPU.
HOST_FLAGS    = -std=c++20 $(OPT) -Wall -Wextra $(CUDA_LENIENT) -Wno-unknown-pragmas -I. -pthread -MMD -MP -DGPU_HOST -include tests/nn/cuda_host.h \
	-mavx2 -mfma -mf16c -ffp-contract=off $(CXXFLAGS)
HOST_OBJS    := $(patsubst %.cu,$(BUILD)/host/%.o,$(wildcard nn/*.cu)) $(BUILD)/host/tests/nn/cuda_host.o $(BUILD)/tests/nn/gpu_is_host.o
HOST_TESTS   := $(patsubst %.cc,$(BUILD)/host/%.o,$(wildcard tests/nn/test_*.cc))
WITH_nn      := $(HOST_OBJS) $(HOST_TESTS)
WITH_embed   := $(HOST_OBJS)
WITH_generate := $(HOST_OBJS)
# The plain table of GPU kernels too, for an engine whose device is lost.
WITH_api      := $(HOST_OBJS) $(BUILD)/tests/generate/plain_gpu.o

# Files carried inside the program (base/embedded.h): a table a room.
EMBED_generate := prompt_files $(wildcard generate/prompts/*.txt)
EMBED_api      := www_files $(wildcard api/www/*)
# Without the model the program is built too; it then has none unless models.reader names one.
EMBED_embed    := reader_files $(wildcard embed/reader_model/*.json) $(wildcard embed/reader_model/vocab.txt embed/reader_model/model.safetensors)
objs     = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(CUDA_WITHOUT),$(wildcard $(1)/*.c))) $(patsubst %.cc,$(BUILD)/%.o,$(wildcard $(1)/*.cc)) \
	$(patsubst %.cu,$(BUILD)/%.o,$(if $(CUDA),$(wildcard $(1)/*.cu))) $(if $(EMBED_$(1)),$(BUILD)/$(1)/embedded.o)
libs     = $(foreach r,$(1),$(LIBS_$(r)))
ALL_OBJS := $(foreach r,$(ROOMS),$(call objs,$(r)))

.PHONY: all packages faiss cuda-toolkit cuda models demo eval check check-web check-asan check-tsan check-long bench gpu-check gpu-pack lint install clean help $(foreach r,$(ROOMS) torture gpu,test-$(r))
.DELETE_ON_ERROR:
all: $(BUILD)/footnote

$(PACKAGES): tools/packages.sh
	@tools/packages.sh
	@mkdir -p $(@D) && touch $@
$(FAISS)/stamp: | $(PACKAGES)
	@tools/faiss.sh $(FAISS)
# The same, looked at again although they were there before.
packages:
	@tools/packages.sh
faiss: packages
	@tools/faiss.sh $(FAISS)
cuda-toolkit: packages
	@tools/cuda.sh fetch
# The program with CUDA for sure.
cuda: cuda-toolkit
	@$(MAKE) --no-print-directory all

$(BUILD)/footnote: $(ALL_OBJS)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(call libs,$(ROOMS))

$(BUILD)/%.o: %.c | $(PACKAGES)
	@mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(CFLAGS_$(basename $(notdir $<))) -c -o $@ $<
$(BUILD)/%.o: %.cc | $(PACKAGES) $(FAISS)/stamp
	@mkdir -p $(@D)
	$(CXX) $(CXX_FLAGS) -c -o $@ $<

# Where the toolkit came, went or changed, what depends on it is made anew.
CUDA_KIND := $(BUILD)/cuda.kind
ifneq ($(if $(wildcard $(CUDA_KIND)),$(file <$(CUDA_KIND)),none yet),$(CUDA))
$(shell mkdir -p $(BUILD))
$(file >$(CUDA_KIND),$(CUDA))
endif
$(BUILD)/nn/gpu_none.o: $(CUDA_KIND)
$(BUILD)/%.o: %.cu $(CUDA_KIND) | $(PACKAGES)
	@mkdir -p $(@D)
	$(CUDA)/bin/nvcc $(NVCC_FLAGS) -c -o $@ $<
$(BUILD)/host/%.o: %.cu | $(PACKAGES)
	@mkdir -p $(@D)
	$(CXX) $(HOST_FLAGS) -x c++ -c -o $@ $<
$(BUILD)/host/%.o: %.cc | $(PACKAGES)
	@mkdir -p $(@D)
	$(CXX) $(HOST_FLAGS) -c -o $@ $<

define embed_files
$(BUILD)/$(1)/embedded.o: $(wordlist 2,999,$(EMBED_$(1))) tools/embed.sh | $(PACKAGES)
	@mkdir -p $$(@D)
	tools/embed.sh $(EMBED_$(1)) > $$(@:.o=.s) && $(CC) -c -o $$@ $$(@:.o=.s)
endef
$(foreach r,generate embed api,$(eval $(call embed_files,$(r))))

# These two lie outside the compiler's own search path.
CFLAGS_xml         := -isystem /usr/include/libxml2
CFLAGS_extract_eml = $(shell pkg-config --cflags-only-I gmime-3.0 2>/dev/null | sed 's/-I/-isystem /g')
CFLAGS_faissx := -isystem $(FAISS)/include
$(patsubst %.c,$(BUILD)/%.o,$(wildcard index/faissx*.c)): | $(FAISS)/stamp
# Kernels round where they say so, never where the compiler joins a product and a sum.
CFLAGS_ops_avx2   := -mavx2 -mfma -mf16c -ffp-contract=off
CFLAGS_ops_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c -ffp-contract=off
CFLAGS_ops_vnni   := $(CFLAGS_ops_avx512) -mavx512vnni
CFLAGS_ops_amx    := $(CFLAGS_ops_vnni) -mavx512vbmi -mavx512bf16
CFLAGS_attend_amx := $(CFLAGS_ops_amx)
CFLAGS_ops_ref    := -O3 -ffp-contract=off
# Blocks of postings are read with the vectors that every CPU here has.
CFLAGS_block      := -O3 -mavx2
CFLAGS_gemm8_plain := -ffp-contract=off
CFLAGS_gemm8_avx2 := $(CFLAGS_ops_avx2)
CFLAGS_gemm8_avxvnni := $(CFLAGS_ops_avx2) -mavxvnni
CFLAGS_gemm8_vnni := $(CFLAGS_ops_vnni)
CFLAGS_gemm8_amx  := $(CFLAGS_ops_vnni)
CFLAGS_code8_avx2 := -mavx2
CFLAGS_reader     := -mavx2 -ffp-contract=off
CFLAGS_code8_avxvnni := -mavx2 -mavxvnni
CFLAGS_code8_vnni := -mavx2 -mavx512f -mavx512vnni
CFLAGS_pq4_avx2   := -mavx2
CFLAGS_pq4_avx512 := -mavx2 -mavx512f -mavx512bw
CFLAGS_rope       := -O3 -ffp-contract=off
CFLAGS_decoder_cpu := -ftree-vectorize -fvect-cost-model=dynamic
CFLAGS_quant      := -ffp-contract=off

# test-ROOM builds and runs the tests of tests/ROOM/ with that room and the rooms below it. T=name runs some.
define room_tests
$(BUILD)/tests/run-$(1): $(BUILD)/tests/runner.o $(if $(filter nn,$(NEED_$(1))),$(BUILD)/tests/gguf_make.o $(BUILD)/tests/gguf_fill.o) $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(NOT_IN_$(1)),$(wildcard tests/$(1)/*.c))) $(WITH_$(1)) $(filter-out $(BUILD)/api/main.o,$(foreach r,$(NEED_$(1)),$(call objs,$(r))))
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $$@ $$^ $(call libs,$(NEED_$(1)))
test-$(1): $(BUILD)/tests/run-$(1)
	@$(BUILD)/tests/run-$(1) $(T)
endef
# tests/torture: the store while writes fail; the same stand-ins for programs, to be loaded before them.
NEED_torture := index base
WITH_torture := $(BUILD)/tests/index/help.o
# tests/gpu: checks and measurements of a GPU, here on the emulated one.
NEED_gpu := generate embed nn base
WITH_gpu := $(HOST_OBJS) $(BUILD)/tests/embed/encoder_make.o
NOT_IN_gpu := tests/gpu/gpu_is_cuda.c tests/gpu/ref_logits.c
$(foreach r,$(ROOMS) torture gpu,$(eval $(call room_tests,$(r))))
$(BUILD)/tests/failwrite.so: tests/torture/failwrite.c tests/torture/failwrite.h | $(PACKAGES)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -fPIC -shared -I. -D_GNU_SOURCE -o $@ $<

# The same on a GPU (tools/gpu_check.sh), with the tests of its kernels. Rooms are archives here, so that a program needs only the libraries of
# what it calls; GPU_WITHOUT: sources whose libraries a machine lacks; X.from: what X was linked from (tests/gpu/gpu_steps.py).
GPU_WITHOUT ?=
GPU_LIBS    = $(filter-out $(GPU_NO_LIBS),$(call libs,nn base))
GPU_ARCHIVES := $(patsubst %,$(BUILD)/gpu/%.a,generate embed nn base)
GPU_COMMON  := $(BUILD)/tests/runner.o $(BUILD)/tests/gguf_make.o $(BUILD)/tests/gguf_fill.o $(BUILD)/tests/gpu/measure.o $(BUILD)/tests/gpu/gpu_is_cuda.o
gpu_tests    = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(GPU_WITHOUT) %_host.c,$(wildcard $(1))))
$(BUILD)/gpu/%.a: ; @mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^ && echo $^ >$@.from
$(foreach r,generate embed nn base,$(eval $(BUILD)/gpu/$(r).a: $(filter-out $(patsubst %.c,$(BUILD)/%.o,$(GPU_WITHOUT)),$(call objs,$(r)))))
$(BUILD)/gpu/run-kernels: $(call gpu_tests,tests/nn/test_gpu_*.c tests/gpu/check_device.c tests/gpu/time_kernels.c)
$(BUILD)/gpu/run-models: $(call gpu_tests,tests/gpu/check_models.c tests/gpu/time_models.c tests/gpu/model.c)
$(BUILD)/gpu/run-embed: $(call gpu_tests,tests/embed/test_gpu_*.c tests/embed/test_scan.c tests/embed/encoder_make.c tests/gpu/time_encoder.c)
$(BUILD)/gpu/run-generate: $(call gpu_tests,tests/generate/test_gpu_*.c tests/generate/feed.c tests/generate/plain_gpu.c tests/generate/plain_model.c tests/gpu/time_ready.c)
.SECONDARY: $(GPU_COMMON)
$(BUILD)/gpu/run-%: $(GPU_COMMON) $(GPU_ARCHIVES)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $(filter %.o,$^) $(GPU_ARCHIVES) $(GPU_LIBS)
	@echo $^ >$@.from
$(BUILD)/gpu/ref_logits: $(BUILD)/tests/gpu/ref_logits.o $(BUILD)/tests/gpu/model.o $(GPU_ARCHIVES)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(GPU_LIBS)
$(BUILD)/gpu/ceilings: tests/gpu/ceilings.cu $(CUDA_KIND)
	@mkdir -p $(@D)
	$(CUDA)/bin/nvcc $(NVCC_FLAGS) -MF $@.d -o $@ $< -ldl
	@echo $< >$@.from

.PHONY: gpu-programs
gpu-programs: $(addprefix $(BUILD)/gpu/,ceilings run-kernels run-models run-embed run-generate ref_logits)

# Everything about a GPU, on a machine that has one: ONLY=kernels,models,time,peers,sanitize (some of it); the report is build-gpu/GPU.md, and a
# copy where OUT says. Needs a CUDA toolkit and a C compiler, no package of the distribution. gpu-pack: what is carried there.
gpu-check:
	@MAKE="$(MAKE)" ONLY="$(ONLY)" tools/gpu_check.sh
gpu-pack: $(BUILD)/gpu/ref_logits
	@tools/gpu_pack.sh $(BUILD)/gpu/ref_logits $(CACHE)/models build/gpu_pack

# What the machine can do, beside what the kernels reach.
$(BUILD)/tests/roofline: $(BUILD)/tests/bench/roofline.o $(call objs,nn) $(call objs,base)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(call libs,nn base)
# A reader model over pairs of texts, for embed/reader_train/evaluate.py and for its speed.
$(BUILD)/tests/read_pairs: $(BUILD)/tests/bench/read_pairs.o $(call objs,embed) $(call objs,nn) $(call objs,base)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(call libs,embed nn base)
# The verifier of answers over given evidence and sentences, for tests/eval/run_eval.py.
$(BUILD)/tests/verify_pairs: $(BUILD)/tests/eval/verify_pairs.o $(filter-out $(BUILD)/api/main.o,$(foreach r,$(NEED_api),$(call objs,$(r))))
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(call libs,$(NEED_api))
# What the mask of generate/constrain.h costs beside a model's steps.
$(BUILD)/tests/mask_cost: $(BUILD)/tests/bench/mask_cost.o $(call objs,generate) $(call objs,nn) $(call objs,base)
	$(CC) $(OPT) -pthread $(LDFLAGS) -o $@ $^ $(call libs,generate nn base)
# The program beside others that do the same, on this machine (tests/bench/run.py; ONLY=decode,embed: some of the works;
# KERNEL=vnni or avx2: with those kernels).
bench: all $(BUILD)/tests/roofline
	@python3 tests/bench/run.py --build $(BUILD) --write tests/bench/RESULTS.md $(if $(ONLY),--only $(ONLY)) $(if $(KERNEL),--kernel $(KERNEL))

# A generator other than the default: MODEL=smollm2-135m, MODEL=qwen-0.5b, or any name of `footnote models list`.
MODEL ?= qwen-1.5b
models: all
	$(BUILD)/footnote models fetch all-minilm-l6-v2
	$(BUILD)/footnote models fetch $(MODEL)

demo: all
	@BUILD=$(BUILD) MODEL=$(MODEL) tools/demo.sh

# The table of EVALUATION.md (EVAL=DIR: other sets than corpora/eval; ONLY=ROW,ROW; GENERATOR=small, STYLE=extractive: other
# than the default generator; LIMIT=N: questions of a set; SECONDS=S: no question of a row is begun later;
# BATCH=N: questions of row batch).
GENERATOR ?= large
VARIANT    = $(if $(filter extractive,$(STYLE)),extractive,$(GENERATOR))
eval: all $(BUILD)/tests/verify_pairs
	@$(BUILD)/footnote models fetch all-minilm-l6-v2
	@$(if $(filter extractive,$(VARIANT)),,$(BUILD)/footnote models fetch $(if $(filter small,$(VARIANT)),qwen-0.5b,qwen-1.5b))
	@python3 tests/eval/run_eval.py --build $(BUILD) --variant $(VARIANT) $(if $(EVAL),--sets $(EVAL)) $(if $(ONLY),--only $(ONLY)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(BATCH),--batch $(BATCH))

# Every short test that needs no GPU; the last line is "N passed, N failed, N skipped".
check:
	@MAKE="$(MAKE)" BUILD=$(BUILD) tools/check.sh
SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=
check-asan:
	@MAKE="$(MAKE)" BUILD=build-asan OPT="$(SANITIZE)address,undefined -fno-sanitize-recover=undefined" tools/check.sh
check-tsan:
	@MAKE="$(MAKE)" BUILD=build-tsan OPT="$(SANITIZE)thread" TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp $(TSAN_OPTIONS)" tools/check.sh
# The same tests with more rounds where they have rounds (FOOTNOTE_LONG), then under both sanitizers.
check-long:
	@MAKE="$(MAKE)" BUILD=$(BUILD) FOOTNOTE_LONG=1 tools/check.sh
	@$(MAKE) check-asan
	@$(MAKE) check-tsan
# The page in the distribution's Chromium; pictures of it are left in $(BUILD)/web.
check-web: all
	@CACHE="$(CACHE)" BUILD=$(BUILD) tools/check_web.sh $(T)
lint:
	@python3 tests/lint/lint.py

PREFIX ?= /usr/local
install: all
	install -D -m 755 $(BUILD)/footnote $(DESTDIR)$(PREFIX)/bin/footnote
	install -D -m 644 service.conf $(DESTDIR)$(PREFIX)/share/footnote/service.conf
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/footnote/LICENSE

clean:
	rm -rf $(BUILD)

help:
	@echo 'make               build $(BUILD)/footnote, installing packages and building FAISS where they are missing'
	@echo 'make demo          ingest corpora/handbook, answer a question over HTTP (MODEL=NAME: another generator)'
	@echo 'make check         build and run every short test; the last line is "N passed, N failed, N skipped"'
	@echo 'make check-web     the page in a real browser (T=NAME: one test); pictures in $(BUILD)/web'
	@echo 'make models        fetch the default embedder and generator (MODEL=NAME: another generator)'
	@echo 'make install       PREFIX=/usr/local, DESTDIR='
	@echo 'make test-ROOM     the tests of one room: $(ROOMS) torture gpu (T=NAME: some of them)'
	@echo 'make eval          the table of EVALUATION.md (EVAL=DIR ONLY=ROW GENERATOR=small STYLE=extractive LIMIT=N SECONDS=S BATCH=N)'
	@echo 'make lint          the rules of the house: who includes whom, where every file is named'
	@echo 'make check-asan    the tests under the address and undefined behaviour sanitizers; check-tsan: threads'
	@echo 'make check-long    the tests with more rounds, and both of these'
	@echo 'make bench         measure, side by side with other programs, into tests/bench/RESULTS.md (ONLY=WORK,WORK; KERNEL=vnni|avx2)'
	@echo 'make gpu-check     check and measure on a GPU (ONLY=kernels,models,time,peers,sanitize); gpu-pack: models to be carried there'
	@echo 'make packages faiss  only the set-up: packages of the distribution, FAISS with its C API'
	@echo 'make cuda          as make, with CUDA for sure: where there is no nvcc it is fetched (CUDA= with make: without CUDA)'
	@echo 'make clean         remove $(BUILD)'
	@echo 'Models and FAISS are kept in $(CACHE).'

ifneq ($(wildcard $(BUILD)),)
-include $(shell find $(BUILD) -name '*.d')
endif
