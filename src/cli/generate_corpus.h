// hypenet generate --corpus: many documents sampled from a model, to train on.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/generation_options.h"
#include "cli/model_folder.h"
#include "cli/ranks.h"

namespace hypenet {

struct CorpusFlags {
  std::filesystem::path file = {};  // empty: no corpus was asked for
  std::vector<std::filesystem::path> text = {};
  std::optional<std::string> text_field = {};  // "text" where none is given
  int64_t tokens = 0;                          // of the whole corpus
  std::vector<int64_t> prompt_tokens = {2, 32};
  std::optional<int64_t> sequences = {};  // of a rank
  RankOptions ranks = {};
};

/// Adds --corpus, which is returned, and what only goes with it; `flags` must outlive the parsing.
CLI::Option* add_corpus_options(CLI::App& command, CorpusFlags& flags);

/// What `generate` has for prompts too.
struct CorpusSampling {
  const ModelOptions& model;
  const SamplingFlags& sampling;
  const MemoryFlags& memory;
  std::optional<int64_t> tokens;  // of an answer
};

/// Makes the corpus, or goes on with it, by the ranks asked for; says so where it is there already.
void generate_corpus(const CorpusFlags& flags, const CorpusSampling& asked);

}  // namespace hypenet
