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
#include "model/weights.h"
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
  std::shared_ptr<const TokenDataset> train = {}, long_train = {};  // one where there is no other
  std::vector<int32_t> held_out = {};
};

/// Token ids of held-out text, at most 2^20: files or folders of documents, each followed by EOS,
/// or one folder of token shards. Bad documents are left out; `tell` hears which, and which files
/// of a folder are. Throws Error when there is none.
std::vector<int32_t> read_held_out(const std::vector<std::string>& paths,
                                   const std::string& text_field, const Tokenizer& tokenizer,
                                   const TellNote& tell = {},
                                   OnBadDocument on_bad = OnBadDocument::kSkip);

/// Tokenizes the recipe's text into out/tokens, and that of stage 3, where it is another, into
/// out/tokens-long (once; a finished folder of the same settings is used again). `check_held_out`,
/// which may be empty, gets the held-out text as soon as it is known, and may throw.
Corpus prepare_corpus(const DataConfig& data, const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<void(const std::vector<int32_t>&)>& check_held_out = {});

/// Whether `folder` is already there with these settings in its run.json, where keys that came
/// after it was made have their defaults. Throws Error when it was made with others that decide the
/// result; `or_else` as of check_same_settings.
bool is_done(const std::filesystem::path& folder, const Json& settings,
             const std::string& or_else = "remove what it made");

/// Settings as an earlier program wrote them into the file `place`, as this one writes them: keys
/// that came after have their defaults, paths are absolute.
Json completed_settings(Json settings, const std::filesystem::path& place);

/// run.json of a stage: settings, program, parents.
Json run_record(const std::string& stage, const Json& settings,
                const std::vector<std::filesystem::path>& parents);

/// Throws Error naming `place` for a part in stage.frozen that no parameter of these models has in
/// its name.
void check_frozen(const StageConfig& stage, const std::vector<CausalLm>& models,
                  const std::string& place);

/// One training stage: the parameters of `model` that require a gradient, in float32 and on the
/// device of the run.
struct StageRun {
  std::string stage;
  const StageConfig& config;
  CausalLm model;
  Json settings;
  uint64_t seed = 0;
};

/// Runs it and throws Interrupted when it was stopped. Parameters that the stage freezes lose their
/// requires_grad. Copies that the model computes with are kept up to
/// date.
void run_stage(const StageRun& run, const std::shared_ptr<const TokenDataset>& text,
               const Tokenizer& tokenizer, Objective& objective, const RunOptions& options);

/// A model that nothing trains: its parameters in the type that the stage computes in.
CausalLm load_frozen(const Checkpoint& checkpoint, const StageConfig& stage, torch::Device device);

/// Throws Error when the tokenizer has ids that the model has no embedding for.
void check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                      const std::string& place);

/// Throws Error when the stage has a saved state of other settings (train/loop.h).
void check_stage_state(const std::string& stage, const Json& settings, const RunOptions& options);

/// Throws Interrupted when the stop flag is set.
void check_stop(const RunOptions& options);

}  // namespace hypenet
