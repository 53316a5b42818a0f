// What all steps of one run share, and the frame of a step: skip what is done, write a folder, say
// who made it.
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/token_shard.h"
#include "halo/recipe.h"
#include "model/causal_lm.h"
#include "text/tokenizer.h"
#include "train/loop.h"

namespace hypenet {

/// Thrown when the user stopped the run; everything needed to go on is saved.
class Interrupted : public Error {
 public:
  using Error::Error;
};

struct RunOptions {
  std::filesystem::path out;
  torch::Device device = torch::kCPU;
  Observer* observer = nullptr;             // may be null
  const std::atomic<bool>* stop = nullptr;  // may be null
};

/// Token ids of training and held-out text.
struct Corpus {
  std::shared_ptr<const TokenDataset> train;
  std::vector<int32_t> held_out;
};

/// Token ids of held-out text, at most 2^20: files or folders of documents, each followed by EOS,
/// or one folder of token shards. Throws Error when there is none.
std::vector<int32_t> read_held_out(const std::vector<std::string>& paths,
                                   const std::string& text_field, const Tokenizer& tokenizer);

/// Tokenizes the recipe's text into out/tokens (once; a finished folder of the same settings is
/// used again).
Corpus prepare_corpus(const DataConfig& data, const Tokenizer& tokenizer,
                      const RunOptions& options);

/// Whether `folder` is already there with these settings in its run.json. Throws Error when it was
/// made with others.
bool is_done(const std::filesystem::path& folder, const Json& settings);

/// run.json of a stage: settings, program, parents.
Json run_record(const std::string& stage, const Json& settings,
                const std::vector<std::filesystem::path>& parents);

/// Runs one training stage and throws Interrupted when it was stopped.
struct StageRun {
  std::string stage;
  const StageConfig& config;
  NamedTensors parameters;
  Json settings;
  uint64_t seed = 0;
};
void run_stage(const StageRun& run, const Corpus& corpus, const Tokenizer& tokenizer,
               Objective& objective, const RunOptions& options);

/// Removes the saved training state of a stage whose folder is written.
void finish_stage(const std::string& stage, const RunOptions& options);

/// Throws Error when the tokenizer has ids that the model has no embedding for.
void check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                      const std::string& place);

/// Throws Interrupted when the stop flag is set.
void check_stop(const RunOptions& options);

}  // namespace hypenet
