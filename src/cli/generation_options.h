// What `generate` and `chat` share: the flags of sampling and memory.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <set>
#include <string>

#include "engine/engine.h"

namespace hypenet {

/// The values of the flags that were given; the others keep the default of the command.
struct SamplingFlags {
  SamplingOptions values;
  std::set<std::string> given;  // keys of SamplingOptions::visit, and "seed"
};

/// Adds a flag for each option of SamplingOptions::visit (--top-k for top_k), and --seed; `flags`
/// must outlive the parsing.
void add_sampling_options(CLI::App& command, SamplingFlags& flags);

/// The defaults with the flags in their places. Throws Error naming the flag for an impossible one,
/// and for one that chooses among tokens where the temperature is 0. `seeds_more`: the seed is not
/// of the choice of tokens alone.
SamplingOptions sampling_options(const SamplingFlags& flags, const SamplingOptions& defaults,
                                 bool seeds_more = false);

struct MemoryFlags {
  int64_t bytes = 0, context = 0;
};

/// Adds --memory alone: sizes like 8G, or a number of GiB, end in `bytes`, which must outlive the
/// parsing. `about` is its help.
void add_memory_option(CLI::App& command, int64_t& bytes, const std::string& about);

/// Adds --memory and --context; `flags` must outlive the parsing.
void add_memory_options(CLI::App& command, MemoryFlags& flags);

/// The engine's options for so many sequences side by side. Throws Error naming the flag for an
/// impossible one.
EngineOptions engine_options(const MemoryFlags& flags, int64_t max_sequences);

/// Tokens that an answer to a prompt of so many may have: `asked`, or fewer where --context or the
/// memory ends before. Throws Error naming the options where nothing is left for an answer.
int64_t answer_tokens(Engine& engine, const MemoryFlags& flags, int64_t prompt_tokens,
                      int64_t asked);

/// What ended an answer that was given fewer tokens than asked for: "--context 512", or "--memory".
std::string what_ends_context(Engine& engine, const MemoryFlags& flags);

}  // namespace hypenet
