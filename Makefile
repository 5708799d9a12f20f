# Footnote. `make help` lists the targets.
CACHE   ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/footnote
FAISS   := $(CACHE)/faiss-1.7.3-avx2
BUILD   ?= build
CC      := gcc
CXX     := g++
WARN    := -Wall -Wextra -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wundef -Wvla
OPT     ?= -O2 -g -fno-omit-frame-pointer
CFLAGS  += -std=gnu11 $(OPT) $(WARN) -I. -I$(BUILD) -pthread -D_GNU_SOURCE -MMD -MP
CXXFLAGS += -std=c++17 $(OPT) -Wall -Wextra -I. -pthread -MMD -MP

ROOMS   := base nn embed generate index ingest api
LIBS_base     := -lutf8proc -lcrypto -lcjson -lstemmer
LIBS_nn       := -lopenblas -lm
LIBS_index    := -llmdb $(FAISS)/lib/libfaiss_c.a $(FAISS)/lib/libfaiss_avx2.a -lopenblas -lgomp -lstdc++ -lm
LIBS_ingest   := -lmd4c -lgumbo
LIBS_api      := -lmicrohttpd -larchive
# Rooms that a room's tests link, lowest last.
NEED_base     := base
NEED_nn       := nn base
NEED_embed    := embed nn base
NEED_generate := generate nn base
NEED_index    := index base
NEED_ingest   := ingest index embed nn base
NEED_api      := api ingest index embed generate nn base

# Files carried inside the program (base/embedded.h): a table a room.
EMBED_generate := prompt_files $(wildcard generate/prompts/*.txt)
EMBED_api      := www_files $(wildcard api/www/*)
objs     = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c)) $(patsubst %.cc,$(BUILD)/%.o,$(wildcard $(1)/*.cc)) $(if $(EMBED_$(1)),$(BUILD)/$(1)/embedded.o)
libs     = $(foreach r,$(1),$(LIBS_$(r)))
ALL_OBJS := $(foreach r,$(ROOMS),$(call objs,$(r)))

.PHONY: all clean $(foreach r,$(ROOMS),test-$(r))
all: $(BUILD)/footnote

$(BUILD)/footnote: $(ALL_OBJS)
	$(CC) $(OPT) -pthread -o $@ $^ $(call libs,$(ROOMS))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CFLAGS_$(basename $(notdir $<))) -c -o $@ $<
$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -I$(FAISS)/include -c -o $@ $<

define embed_files
$(BUILD)/$(1)/embedded.o: $(wordlist 2,999,$(EMBED_$(1))) tools/embed.sh
	@mkdir -p $$(@D)
	tools/embed.sh $(EMBED_$(1)) > $$(@:.o=.s) && $(CC) -c -o $$@ $$(@:.o=.s)
endef
$(foreach r,generate api,$(eval $(call embed_files,$(r))))

CFLAGS_faissx := -I$(FAISS)/include

# test-ROOM builds and runs the tests of tests/ROOM/ with that room and the rooms below it. T=name runs some.
define room_tests
$(BUILD)/tests/run-$(1): $(BUILD)/tests/runner.o $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/$(1)/*.c)) $(filter-out $(BUILD)/api/main.o,$(foreach r,$(NEED_$(1)),$(call objs,$(r))))
	$(CC) $(OPT) -pthread -o $$@ $$^ $(call libs,$(NEED_$(1)))
test-$(1): $(BUILD)/tests/run-$(1)
	$(BUILD)/tests/run-$(1) $(T)
endef
$(foreach r,$(ROOMS),$(eval $(call room_tests,$(r))))

clean:
	rm -rf $(BUILD)
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
