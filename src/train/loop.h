// The training loop that every stage shares: batches, steps, saving, resuming, reporting. A step's
// numbers are read while the next step runs, so that the device never waits for the host.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/batches.h"
#include "model/causal_lm.h"
#include "ranks/ranks.h"
#include "store/safetensors.h"
#include "train/prefetch.h"
#include "train/schedule.h"
#include "train/sharded_weights.h"

namespace hypenet {

/// What a recipe says about one training stage; defaults as published where stages agree.
struct StageConfig {
  int64_t steps = 20000;
  int64_t sequences = 32;       // a step, all of the job
  int64_t micro_sequences = 0;  // at a time; 0 means all at once
  int64_t context = 512;        // tokens a sequence
  int64_t row_ranks = 1;        // ranks that share the tokens of each row
  std::string precision =
      "float32";  // of activations and products: "float32" | "bfloat16"; parameters stay float32
  bool activation_checkpointing = false;  // blocks run again in backward: less memory, more work
  std::string cuda_graph = "auto";  // steps replayed from a recording: "on" | "off" | "auto", on a
                                    // GPU unless a step has many micro-batches
  std::string shard_teacher =
      "auto";  // parts of the teacher on each rank: "on" | "off" | "auto", where it is large
  int64_t save_every = 500;  // steps between saved states
  int64_t log_every = 10;    // steps between reports
  std::string objective;  // what is minimised, where a stage has a choice; empty: the stage's own
  std::vector<std::string> frozen;    // parameters whose names contain any of these are not trained
  LogitsScaling attn_logits_scaling;  // of the model while it is trained; published: none
  OptimizerConfig optimizer;
  MixtureConfig mixture;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("steps", steps);
    field("sequences", sequences);
    field("micro_sequences", micro_sequences);
    field("context", context);
    field("row_ranks", row_ranks);
    field("precision", precision);
    field("activation_checkpointing", activation_checkpointing);
    field("cuda_graph", cuda_graph);
    field("shard_teacher", shard_teacher);
    field("save_every", save_every);
    field("log_every", log_every);
    field("objective", objective);
    field("frozen", frozen);
    field("attn_logits_scaling", attn_logits_scaling);
    field("optimizer", optimizer);
    field("mixture", mixture);
  }
  int64_t tokens() const { return steps * sequences * context; }
  torch::ScalarType compute_type() const;

  /// How the model that the stage trains computes: in that type, by copies of its parameters, with
  /// the stage's logits scaling.
  ComputePlan compute_plan() const;
};

/// Keys of StageConfig that decide how a stage runs and not what comes out, but for rounding: a run
/// may go on with others, and a finished stage stays what it is.
bool is_key_of_running(std::string_view key);

/// Throws Error naming the key for sizes that make no sense; `place` is the recipe and section.
void check_stage(const StageConfig& config, const std::string& place);

/// What one stage minimises.
class Objective {
 public:
  virtual ~Objective() = default;

  /// Adds the gradient of weight * loss to the parameters. Returns the loss of this batch (weight
  /// not applied), a detached scalar on the device.
  virtual Tensor accumulate(const Batch& batch, double weight) = 0;

  /// What the loss is, for reports: "KL", "cross-entropy".
  virtual std::string loss_name() const { return "loss"; }

  /// The name of the first part of the model whose output on this batch is not finite; empty when
  /// all are finite. Ranks go through all of the model together, whatever each finds.
  virtual std::string first_nonfinite(const Batch& batch) = 0;
};

/// One report of a running stage.
struct StepReport {
  std::string stage;
  int64_t step = 0, steps = 0;  // steps done, of all
  double loss = 0;              // mean since the last report
  double learning_rate = 0, gradient_norm = 0, tokens_per_second = 0, seconds_left = 0;
  std::string loss_name = "loss";  // Objective::loss_name
  int64_t peak_bytes = 0;          // of a GPU's memory at most, of all ranks; 0 on a CPU
  double waiting = 0;              // share of the time, of the rank that waits most for others
  double seconds_saving = 0;       // for which steps waited until a state was taken
};

/// Where progress goes; the command line draws it.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_note(const std::string& text) = 0;
  /// Work other than training steps (tokenizing, sweeping, evaluating): `done` of `total` pieces.
  virtual void on_progress(const std::string& stage, int64_t done, int64_t total) = 0;
};

struct TrainJob {
  std::string stage = {};  // name in reports and files
  StageConfig config = {};
  NamedTensors parameters = {};                  // to train; on the device, float32, requires_grad
  std::shared_ptr<ShardedWeights> sharded = {};  // more to train, of which each rank has its part
  std::filesystem::path folder = {};  // holds <stage>.state while running, and metrics.jsonl
  Json settings = {};  // what decides the result: a state saved with others is refused
  /// Settings of a state that an earlier program saved (the path), as this one writes them. May be
  /// empty.
  std::function<Json(const Json& settings, const std::filesystem::path& path)> completed = {};
  torch::Device device = torch::kCPU;
  Observer* observer = nullptr;
  const std::atomic<bool>* stop = nullptr;  // set (by Ctrl-C): save and return
  /// Called after each update and after loading a state: brings up to date what is made of the
  /// parameters. It may not wait for the device. May be empty.
  std::function<void()> after_update = {};
  std::shared_ptr<Communicator> communicator = std::make_shared<OneProcess>();
};

enum class TrainResult { kFinished, kInterrupted };

/// Runs the stage from its saved state, or from the start. On a CPU an interrupted and resumed run
/// ends with the same bits as an uninterrupted one. On a non-finite loss or gradient throws Error
/// that names step and first layer; the optimizer has not moved since. Of several ranks each takes
/// its share of every step's rows, and only the first writes. When it finishes, the state file
/// stays until remove_state: the caller first writes its result.
TrainResult train(const TrainJob& job, const Batches& batches, Objective& objective);

/// Deletes the saved state of a stage whose result is written; `folder` and `stage` as in TrainJob.
void remove_state(const std::filesystem::path& folder, const std::string& stage);

/// Throws Error when a stage has a saved state that train would refuse: one of other settings.
void check_saved_state(const TrainJob& job);

/// The first setting that decides the result and in which the two differ; empty when there is none.
std::string first_deciding_difference(const Json& expected, const Json& found);

/// Throws Error naming the first such setting in which a file or folder made earlier differs from
/// this run. `or_else` says what else a user can do than use those settings again or choose
/// another --out.
void check_same_settings(const std::filesystem::path& place, const Json& expected,
                         const Json& found, const std::string& or_else = "remove what it made");

/// Copies a batch to the device.
Batch to_device(const Batch& batch, torch::Device device);

}  // namespace hypenet
