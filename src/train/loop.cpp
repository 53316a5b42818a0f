// The loop. Its only memory besides the parameters is the optimizer's: batches and rates are
// functions of the step.
#include "train/loop.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/seconds.h"
#include "train/adamw.h"
#include "train/metrics_log.h"
#include "train/row_ranks.h"
#include "train/state_saver.h"
#include "train/step.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

fs::path state_path(const fs::path& folder, const std::string& stage) {
  return folder / (stage + ".state.safetensors");
}

int64_t parse_step(const std::string& text, const fs::path& path) {
  int64_t step = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, step);
  HYPENET_CHECK(error == std::errc() && stop == end && step >= 0, path.string(),
                ": step: expected a number of steps, found \"", text, "\"");
  return step;
}

/// The step of a saved state, whose settings have to be the job's.
int64_t checked_step(const TrainJob& job, const SafetensorsFile& file) {
  const fs::path path = state_path(job.folder, job.stage);
  const auto& metadata = file.metadata();
  HYPENET_CHECK(metadata.contains("step") && metadata.contains("settings"), path.string(),
                ": expected a saved training state, found other tensors");
  const Json settings = parse_json(metadata.at("settings"), path.string());
  check_same_settings(path, job.settings, job.completed ? job.completed(settings, path) : settings,
                      concat("remove ", path.string()));
  const int64_t step = parse_step(metadata.at("step"), path);
  HYPENET_CHECK(step <= job.config.steps, path.string(), ": step: expected at most ",
                job.config.steps, ", found ", step);
  return step;
}

/// Restores parameters and optimizer; returns the step to go on with, 0 without a saved state.
int64_t load_state(const TrainJob& job, AdamW& optimizer) {
  const fs::path path = state_path(job.folder, job.stage);
  if (!fs::exists(path)) return 0;
  const SafetensorsFile file(path);
  const int64_t step = checked_step(job, file);
  optimizer.load_state(file, path.string());
  return step;
}

/// Collects what happens between two reports.
class Meter {
 public:
  Meter(const TrainJob& job, int64_t first_step)
      : job_(job),
        first_step_(first_step),
        reported_(first_step),
        began_(Clock::now()),
        last_(began_) {}

  void add(const StepNumbers& numbers) {
    loss_sum_ += numbers.loss;
    waited_ += numbers.seconds_waited;
  }
  void add_saving(Clock::time_point begin) { saving_ += seconds_between(begin, Clock::now()); }

  /// All ranks call it.
  StepReport report(int64_t done, double learning_rate, double norm, const std::string& loss_name) {
    const auto now = Clock::now();
    const auto count = static_cast<double>(done - reported_);
    const double tokens = count * static_cast<double>(job_.config.sequences * job_.config.context);
    const double pace = seconds_between(began_, now) / static_cast<double>(done - first_step_);
    StepReport report{job_.stage,
                      done,
                      job_.config.steps,
                      loss_sum_ / count,
                      learning_rate,
                      norm,
                      tokens / seconds_between(last_, now),
                      pace * static_cast<double>(job_.config.steps - done)};
    report.loss_name = loss_name;
    report.seconds_saving = saving_;
    Communicator& ranks = *job_.communicator;
    report.peak_bytes = ranks.most(peak_device_bytes(job_.device).reserved);
    report.waiting = longest(waited_, ranks) / seconds_between(last_, now);
    reported_ = done;
    last_ = now;
    loss_sum_ = waited_ = saving_ = 0;
    return report;
  }

 private:
  const TrainJob& job_;
  int64_t first_step_, reported_;
  Clock::time_point began_, last_;
  double loss_sum_ = 0, waited_ = 0, saving_ = 0;  // the latter two in seconds
};

constexpr std::string_view kKeysOfRunning[] = {"micro_sequences", "activation_checkpointing",
                                               "row_ranks",       "cuda_graph",
                                               "shard_teacher",   "save_every",
                                               "log_every"};

/// Settings without the keys of running.
Json deciding(Json settings) {
  if (!settings.is_object()) return settings;
  for (const std::string_view key : kKeysOfRunning) settings.erase(std::string(key));
  for (auto& item : settings.items()) item.value() = deciding(item.value());
  return settings;
}

void check_optimizer(const OptimizerConfig& config, const std::string& place) {
  const auto check = [&](const char* key, double value, bool is_right, const char* expected) {
    HYPENET_CHECK(is_right, place, ": ", key, ": expected ", expected, ", found ", value);
  };
  const auto zero_or_more = [&](const char* key, double value) {
    check(key, value, value >= 0, "0 or more");
  };
  zero_or_more("peak_lr", config.peak_lr);
  zero_or_more("final_lr", config.final_lr);
  constexpr double kMostRate = 1e6;  // what is more is no float32, or no rate
  check("peak_lr", config.peak_lr, config.peak_lr <= kMostRate, "at most 1e6");
  check("final_lr", config.final_lr, config.final_lr <= kMostRate, "at most 1e6");
  zero_or_more("warmup_steps", static_cast<double>(config.warmup_steps));
  zero_or_more("weight_decay", config.weight_decay);
  zero_or_more("clip", config.clip);
  check("beta1", config.beta1, config.beta1 >= 0 && config.beta1 < 1, "0 to below 1");
  check("beta2", config.beta2, config.beta2 >= 0 && config.beta2 < 1, "0 to below 1");
  check("epsilon", config.epsilon, config.epsilon > 0, "a positive number");
  HYPENET_CHECK(config.rates.is_object(), place,
                ": rates: expected an object, as {\"mlp\": 0.1}, found ", config.rates.dump());
  for (const auto& [part, factor] : config.rates.items()) {
    const bool is_rate =
        factor.is_number() && factor.get<double>() >= 0 && factor.get<double>() <= kMostRate;
    HYPENET_CHECK(is_rate, place, ": rates: ", part, ": expected a number from 0 to 1e6, found ",
                  factor.dump());
  }
}

/// What this rank computes of each step: rows, or its tokens of the rows of its group.
BatchSource rank_rows(const TrainJob& job, const Batches& batches) {
  const StageConfig& config = job.config;
  const Ranks ranks = job.communicator->ranks();
  check_row_ranks(config, ranks, {}, job.stage);
  const Ranks groups = row_groups(config, ranks);
  const int64_t first = groups.first_row(config.sequences), end = groups.end_row(config.sequences);
  return [&batches, config, ranks, first, end](int64_t step) {
    return own_tokens(config, ranks, batches.at(step, first, end));
  };
}

/// A run of the loop. The step that was queued last is not settled yet: its numbers are read, and
/// reported, after the next one is queued, or when the state is to be saved.
class Loop {
 public:
  Loop(const TrainJob& job, const Batches& batches, Objective& objective)
      : job_(job),
        objective_(objective),
        source_(rank_rows(job, batches)),
        writes_(job.communicator->ranks().is_first()),
        optimizer_(job.parameters, job.config.optimizer,
                   job.sharded ? job.sharded->trained() : std::vector<TensorPart>()),
        first_step_(load_state(job, optimizer_)),
        settled_(first_step_),
        queued_(first_step_),
        saver_(state_path(job.folder, job.stage), optimizer_.state(writes_), job.device,
               job.communicator),
        meter_(job, first_step_) {
    if (job.sharded) job.sharded->refresh();
    if (job.after_update) job.after_update();
    if (writes_) log_.emplace(job.folder, job.stage, first_step_);
    if (first_step_ > 0 && writes_ && job.observer) {
      job.observer->on_note(
          concat(job.stage, ": going on after step ", first_step_, " of ", job.config.steps));
    }
  }

  TrainResult run() {
    const int64_t steps = job_.config.steps;
    if (first_step_ >= steps) return TrainResult::kFinished;
    Prefetch prefetch(source_, first_step_, steps, job_.device.is_cuda());
    TrainStep step(job_, objective_, optimizer_);
    while (queued_ < steps) {
      step.run(prefetch.next(), rate(queued_));
      ++queued_;
      // A CPU has done the step by now; a GPU's would have to be waited for.
      settle_until(job_.device.is_cuda() ? queued_ - 1 : queued_, step);
      saver_.settle();
      const bool is_stopped = job_.communicator->any(job_.stop && job_.stop->load());
      if (is_stopped || queued_ % job_.config.save_every == 0 || queued_ == steps) save(step);
      if (is_stopped) break;
    }
    saver_.finish();
    return queued_ < steps ? TrainResult::kInterrupted : TrainResult::kFinished;
  }

 private:
  double rate(int64_t step) const {
    return learning_rate(job_.config.optimizer, step, job_.config.steps);
  }

  /// Reads the numbers of the steps before `step` that are not settled, and reports them.
  void settle_until(int64_t step, TrainStep& runner) {
    for (; settled_ < step; ++settled_) {
      const StepNumbers numbers = runner.numbers(queued_ - 1 - settled_);
      if (!numbers.is_finite()) fail_nonfinite(numbers, runner);
      meter_.add(numbers);
      const int64_t done = settled_ + 1;
      if (done % job_.config.log_every != 0 && done != job_.config.steps) continue;
      report(meter_.report(done, rate(settled_), numbers.gradient_norm, objective_.loss_name()));
    }
  }

  void report(const StepReport& report) {
    if (!writes_) return;
    log_->write(report);
    if (job_.observer) job_.observer->on_step(report);
  }

  void save(TrainStep& runner) {
    settle_until(queued_, runner);
    const auto begin = Clock::now();
    saver_.begin(optimizer_.state(writes_),
                 {{"step", std::to_string(queued_)}, {"settings", job_.settings.dump()}});
    meter_.add_saving(begin);
  }

  /// The parameters have not moved since the step that failed, so it can be looked at again.
  [[noreturn]] void fail_nonfinite(const StepNumbers& numbers, TrainStep& runner) {
    saver_.finish();
    runner.numbers(0);  // steps queued later are over
    const Batch batch = to_device(source_(settled_), job_.device);
    std::string first = first_nonfinite_part(batch);
    if (!job_.communicator->any(!first.empty())) {
      runner.repeat_gradients(batch);
      const std::string name = optimizer_.first_nonfinite_gradient();
      if (!name.empty()) first = concat("the gradient of ", name);
    }
    const bool is_found = job_.communicator->any(!first.empty());
    if (!is_found) first = "none found in a second pass";
    if (first.empty()) job_.communicator->barrier();  // until a rank that found it ends the job
    throw Error(concat(job_.stage, ": step ", settled_ + 1,
                       ": expected a finite loss and gradient, found loss ", numbers.loss,
                       ", gradient norm ", numbers.gradient_norm, "; first not finite: ", first,
                       "; the parameters and the last saved state are as before this step"));
  }

  /// By micro-batches: a step's rows at once may not fit. All of them, for ranks go through a model
  /// together.
  std::string first_nonfinite_part(const Batch& batch) {
    const int64_t rows = batch.ids.size(0);
    const int64_t micro = job_.config.micro_sequences > 0 ? job_.config.micro_sequences : rows;
    std::string found;
    for (int64_t first = 0; first < rows; first += micro) {
      const int64_t count = std::min(micro, rows - first);
      const std::string part = objective_.first_nonfinite(batch.narrow(first, count));
      if (found.empty()) found = part;
    }
    return found;
  }

  const TrainJob& job_;
  Objective& objective_;
  BatchSource source_;
  bool writes_;  // whether this rank does
  AdamW optimizer_;
  int64_t first_step_, settled_, queued_;  // settled_ of queued_ steps have been read
  StateSaver saver_;
  Meter meter_;
  std::optional<MetricsLog> log_;
};

}  // namespace

ComputePlan StageConfig::compute_plan() const {
  return {.type = compute_type(),
          .has_copies = true,
          .logits_scaling = attn_logits_scaling,
          .checkpoints_activations = activation_checkpointing};
}

torch::ScalarType StageConfig::compute_type() const {
  return precision == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
}

void check_stage(const StageConfig& config, const std::string& place) {
  const auto positive = [&](const char* key, int64_t value) {
    HYPENET_CHECK(value > 0, place, ": ", key, ": expected a positive number, found ", value);
  };
  positive("sequences", config.sequences);
  positive("context", config.context);
  positive("row_ranks", config.row_ranks);
  HYPENET_CHECK(config.row_ranks <= config.context, place,
                ": row_ranks: expected at most one for each of the row's ", config.context,
                " tokens, found ", config.row_ranks);
  positive("save_every", config.save_every);
  positive("log_every", config.log_every);
  check_optimizer(config.optimizer, place + ": optimizer");
  HYPENET_CHECK(config.steps >= 0, place, ": steps: expected 0 or more, found ", config.steps);
  HYPENET_CHECK(config.micro_sequences >= 0, place, ": micro_sequences: expected 0 or more, found ",
                config.micro_sequences);
  HYPENET_CHECK(config.precision == "float32" || config.precision == "bfloat16", place,
                ": precision: expected \"float32\" or \"bfloat16\", found \"", config.precision,
                "\"");
  const auto one_of_three = [&](const char* key, const std::string& value) {
    HYPENET_CHECK(value == "auto" || value == "on" || value == "off", place, ": ", key,
                  ": expected \"auto\", \"on\" or \"off\", found \"", value, "\"");
  };
  one_of_three("cuda_graph", config.cuda_graph);
  one_of_three("shard_teacher", config.shard_teacher);
}

bool is_key_of_running(std::string_view key) {
  return std::ranges::find(kKeysOfRunning, key) != std::end(kKeysOfRunning);
}

std::string first_deciding_difference(const Json& expected, const Json& found) {
  return first_difference(deciding(expected), deciding(found));
}

void check_same_settings(const fs::path& place, const Json& expected, const Json& found,
                         const std::string& or_else) {
  const std::string difference = first_deciding_difference(expected, found);
  HYPENET_CHECK(difference.empty(), place.string(), ": made with other settings: ", difference,
                "; use those settings again, choose another --out, or ", or_else);
}

void check_saved_state(const TrainJob& job) {
  const fs::path path = state_path(job.folder, job.stage);
  if (fs::exists(path)) checked_step(job, SafetensorsFile(path));
}

Batch to_device(const Batch& batch, torch::Device device) {
  return batch.map([&](const Tensor& tensor) { return tensor.to(device); });
}

TrainResult train(const TrainJob& job, const Batches& batches, Objective& objective) {
  return Loop(job, batches, objective).run();
}

void remove_state(const fs::path& folder, const std::string& stage) {
  std::error_code ignored;
  fs::remove(state_path(folder, stage), ignored);
}

}  // namespace hypenet
