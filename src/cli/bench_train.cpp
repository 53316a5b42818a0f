// hypenet bench train: one of HALO's training steps on random weights and ids, through the objects
// that a conversion trains with (train/step.h, train/prefetch.h, the objectives).
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/random.h"
#include "base/seconds.h"
#include "bench/kernel_timing.h"
#include "bench/model_flops.h"
#include "bench/shapes.h"
#include "cli/bench.h"
#include "cli/device.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/ranks.h"
#include "cli/run_progress.h"
#include "halo/align.h"
#include "halo/distill.h"
#include "report/table.h"
#include "run/training.h"
#include "train/cross_entropy.h"
#include "train/row_ranks.h"
#include "train/step.h"

namespace hypenet {
namespace {

/// Steps before the ones that are timed: a recorded one has been replayed by then.
int64_t untimed_steps(const StageConfig& config) {
  return config.cuda_graph == "off" ? 1 : TrainStep::kEagerSteps + 2;
}

struct BenchTrain {
  std::string shape = "hypenet-2b";
  int64_t stage = 1, batch = 0, context = 0, micro = 0, row_ranks = 1, steps = 10;
  std::string precision, cuda_graph = "auto";
  bool activation_checkpointing = false, shard_teacher = false;
  DeviceOptions device;
  RankOptions ranks;
};

/// By the options' names, for ranks to compare.
Json described(const BenchTrain& options) {
  return {{"--shape", options.shape},
          {"--stage", options.stage},
          {"--batch", options.batch},
          {"--context", options.context},
          {"--micro", options.micro},
          {"--row-ranks", options.row_ranks},
          {"--steps", options.steps},
          {"--precision", options.precision},
          {"--cuda-graph", options.cuda_graph},
          {"--activation-checkpointing", options.activation_checkpointing},
          {"--shard-teacher", options.shard_teacher}};
}

/// Sizes that were not given take the shape's; then the stage is checked as a recipe's would be.
StageConfig stage_config(const BenchTrain& options, const BenchShape& shape, torch::Device device) {
  const bool is_long = options.stage == 3;
  StageConfig config;
  config.sequences = options.batch != 0 ? options.batch : is_long ? shape.long_batch : shape.batch;
  config.context = options.context != 0 ? options.context
                   : is_long            ? shape.long_context
                                        : shape.context;
  config.micro_sequences = options.micro;
  config.row_ranks = options.row_ranks;
  config.precision = !options.precision.empty() ? options.precision
                     : device.is_cuda()         ? "bfloat16"
                                                : "float32";
  config.cuda_graph = options.cuda_graph;
  config.steps = untimed_steps(config) + options.steps;
  config.activation_checkpointing = options.activation_checkpointing;
  if (options.shard_teacher) config.shard_teacher = "on";
  check_stage(config, "bench train");
  return config;
}

/// The models of a stage and what it minimises.
struct Trainee {
  CausalLm model{nullptr};
  std::unique_ptr<Objective> objective;
};

Trainee make_trainee(int64_t stage, const ModelConfig& teacher, const ModelConfig& student,
                     const StageConfig& config, torch::Device device,
                     const std::shared_ptr<Communicator>& communicator) {
  const torch::ScalarType type = config.compute_type();
  Trainee trainee{random_model(student, torch::kFloat32, device), nullptr};
  trainee.model->prepare(config.compute_plan());
  const RowPartsPointer row = new_row_parts(config, *communicator);
  trainee.model->split_rows(row);
  if (stage == 3) {
    trainee.objective = std::make_unique<CrossEntropyObjective>(trainee.model);
    return trainee;
  }
  CausalLm frozen = random_model(teacher, type, device);
  frozen->prepare({.type = type});
  frozen->split_rows(row);
  share_teacher(frozen, config, communicator);
  if (stage == 1) {
    trainee.objective = std::make_unique<AlignObjective>(frozen, trainee.model);
  } else {
    trainee.objective = std::make_unique<DistillObjective>(frozen, trainee.model);
  }
  return trainee;
}

/// This rank's rows, or its tokens of its group's.
BatchSource random_batches(const StageConfig& config, int64_t vocabulary, const Ranks& ranks) {
  const Ranks groups = row_groups(config, ranks);
  const int64_t rows = config.sequences / groups.count;
  return [config, vocabulary, ranks, groups, rows](int64_t step) {
    Random random(0, {step, groups.index});
    const Tensor tokens = torch::empty({rows, config.context + 1}, torch::kInt64);
    for (auto *id = tokens.data_ptr<int64_t>(), *end = id + tokens.numel(); id != end; ++id) {
      *id = random.below(vocabulary);
    }
    return own_tokens(config, ranks,
                      {tokens.narrow(1, 0, config.context).contiguous(),
                       tokens.narrow(1, 1, config.context).contiguous(),
                       torch::zeros({rows, config.context}, torch::kBool)});
  };
}

struct Timing {
  double step_seconds = 0;
  double host_seconds = 0;    // of a step, to queue it
  double seconds_waited = 0;  // of a step, for other ranks
  StepNumbers last;
  bool is_recorded = false;
};

/// After a number that is not finite the optimizer stands still, which would be faster.
void check_finite(const StepNumbers& numbers, int64_t step) {
  HYPENET_CHECK(numbers.is_finite(), "bench train: step ", step,
                ": expected a finite loss and gradient, found ", numbers.loss, " and ",
                numbers.gradient_norm);
}

/// As the training loop does: the numbers of a step are read when the next one is queued.
Timing measure(TrainStep& step, Prefetch& batches, const StageConfig& config,
               Communicator& communicator) {
  Timing timing;
  const int64_t untimed = untimed_steps(config);
  auto began = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < config.steps; ++i) {
    throw_if_interrupted();
    if (i == untimed) {
      step.numbers(0);
      began = std::chrono::steady_clock::now();
      timing.host_seconds = 0;
    }
    const Batch batch = batches.next();
    const auto queueing = std::chrono::steady_clock::now();
    step.run(batch, learning_rate(config.optimizer, i, config.steps));
    timing.host_seconds += seconds_since(queueing);
    if (i > 0) check_finite(step.numbers(1), i);
    if (i > untimed) timing.seconds_waited += step.numbers(1).seconds_waited;
    communicator.any(false);
  }
  timing.last = step.numbers(0);
  check_finite(timing.last, config.steps);
  const auto timed = static_cast<double>(config.steps - untimed);
  timing.step_seconds = seconds_since(began) / timed;
  timing.host_seconds /= timed;
  timing.seconds_waited = (timing.seconds_waited + timing.last.seconds_waited) / timed;
  timing.is_recorded = step.is_recorded();
  return timing;
}

Table flops_table(const std::vector<FlopsPart>& parts) {
  Table table{{"MFLOP a token", "forward", "backward", "sum"}, {}};
  FlopsPart all{"all"};
  const auto add = [&](const FlopsPart& part) {
    table.rows.push_back({part.name, fmt::format("{:.3f}", part.forward / 1e6),
                          fmt::format("{:.3f}", part.backward / 1e6),
                          fmt::format("{:.3f}", part.sum() / 1e6)});
  };
  for (const FlopsPart& part : parts) {
    add(part);
    all.forward += part.forward, all.backward += part.backward;
  }
  add(all);
  return table;
}

/// `ceiling` is the FLOP/s of large products of the stage's type, one on each rank.
Table result_table(const Timing& timing, const StageConfig& config, double flops_a_token,
                   double ceiling, const PeakBytes& peak, const Ranks& ranks) {
  const double rate = static_cast<double>(config.sequences * config.context) / timing.step_seconds;
  Table table{{"measure", "value"}, {}};
  const auto add = [&](const char* name, const std::string& value) {
    table.rows.push_back({name, value});
  };
  add("tokens/s", with_commas(static_cast<int64_t>(rate)));
  add("ms a step", fmt::format("{:.2f}", timing.step_seconds * 1e3));
  add("ms of the host to queue a step", fmt::format("{:.2f}", timing.host_seconds * 1e3));
  add("TFLOP/s", fmt::format("{:.3g}", rate * flops_a_token / 1e12));
  add("TFLOP/s of large products in this run", fmt::format("{:.3g}", ceiling / 1e12));
  add("share of it", fmt::format("{:.1f} %", rate * flops_a_token / ceiling * 100));
  if (ranks.count > 1) {
    add("time in which a rank waited for others, at most",
        fmt::format("{:.1f} %", timing.seconds_waited / timing.step_seconds * 100));
  }
  if (peak.reserved == 0) return table;  // a CPU
  add("peak memory of tensors", readable_bytes(peak.allocated));
  add("peak memory taken", readable_bytes(peak.reserved));
  return table;
}

void check(const BenchTrain& options) {
  HYPENET_CHECK(options.stage >= 1 && options.stage <= 3, "--stage: expected 1, 2 or 3, found ",
                options.stage);
  const auto not_negative = [](const char* name, int64_t value) {
    HYPENET_CHECK(value >= 0, name, ": expected 0 (the shape's) or more, found ", value);
  };
  not_negative("--batch", options.batch);
  not_negative("--context", options.context);
  not_negative("--micro", options.micro);
  HYPENET_CHECK(
      options.stage != 1 || !options.activation_checkpointing,
      "--activation-checkpointing: expected with stage 2 or 3, found stage 1, which keeps "
      "one layer at a time");
  HYPENET_CHECK(options.steps > 0, "--steps: expected 1 or more, found ", options.steps);
}

void bench_train(const BenchTrain& options, torch::Device device,
                 const std::shared_ptr<Communicator>& communicator) {
  const BenchShape shape = bench_shape(options.shape);
  communicator->check_same("options", described(options).dump());
  const Ranks ranks = communicator->ranks();
  StageConfig config = stage_config(options, shape, device);
  config.sequences *= row_groups(config, ranks).count;
  check_row_ranks(config, ranks, {}, "bench train");
  const double ceiling = product_rate(device, config.compute_type());
  const std::vector<int64_t> kept =
      options.stage == 1 ? std::vector<int64_t>() : shape.attention_layers;
  const ModelConfig student = shape.student(kept);
  torch::manual_seed(0);
  Trainee trainee =
      make_trainee(options.stage, shape.teacher, student, config, device, communicator);
  RunProgress progress;
  std::shared_ptr<ShardedWeights> sharded;
  if (ranks.count > 1) {
    sharded = ShardedWeights::share_out(
        trainee.model, communicator,
        options.stage == 1 ? ShardedWeights::Gathered::kTrained : ShardedWeights::Gathered::kAll);
  }
  const TrainJob job{
      .stage = "bench train",
      .config = config,
      .parameters = sharded ? sharded->whole() : trainable_parameters(trainee.model),
      .sharded = sharded,
      .device = device,
      .observer = &progress,
      .after_update = [&] { trainee.model->refresh_compute_copies(); },
      .communicator = communicator,
  };
  AdamW optimizer(job.parameters, config.optimizer,
                  sharded ? sharded->trained() : std::vector<TensorPart>());
  Prefetch batches(random_batches(config, student.vocab_size, ranks), 0, config.steps,
                   device.is_cuda());
  TrainStep step(job, *trainee.objective, optimizer);
  Timing timing = measure(step, batches, config, *communicator);
  PeakBytes peak = peak_device_bytes(device);
  peak = {communicator->most(peak.allocated), communicator->most(peak.reserved)};
  timing.seconds_waited = longest(timing.seconds_waited, *communicator);
  if (!ranks.is_first()) return;
  const std::vector<FlopsPart> parts =
      training_flops(shape.teacher, student, static_cast<int>(options.stage), config.context);
  std::cout << fmt::format(
      "{}, stage {}: {} x {} tokens a step, {} at a time, {}, {} rank{} on {}{}, {}{}; loss "
      "{:.4f}\n\n",
      options.shape, options.stage, config.sequences, config.context,
      config.micro_sequences > 0 ? std::min(config.micro_sequences, config.sequences)
                                 : config.sequences / row_groups(config, ranks).count,
      config.precision, ranks.count, ranks.count == 1 ? "" : "s", device.str(),
      config.row_ranks > 1 ? fmt::format(", {} a row", config.row_ranks) : "",
      timing.is_recorded ? "CUDA graph" : "call by call",
      config.activation_checkpointing ? ", activation checkpointing" : "", timing.last.loss);
  std::cout << format_table(flops_table(parts)) << '\n'
            << format_table(result_table(timing, config, total_flops(parts),
                                         ceiling * static_cast<double>(ranks.count), peak, ranks));
}

}  // namespace

void add_bench_train_command(CLI::App& bench) {
  const auto options = std::make_shared<BenchTrain>();
  CLI::App* command = bench.add_subcommand("train", "tokens/s of a training stage of HALO");
  command->add_option("--shape", options->shape, training_shapes())->capture_default_str();
  command->add_option("--stage", options->stage, "1 (align), 2 (distill) or 3 (finetune)")
      ->capture_default_str();
  command->add_option("--batch", options->batch, "sequences a step of each rank (0: the shape's)")
      ->capture_default_str();
  command->add_option("--context", options->context, "tokens a sequence (0: the shape's)")
      ->capture_default_str();
  command->add_option("--micro", options->micro, "sequences at a time (0: all)")
      ->capture_default_str();
  command->add_option("--row-ranks", options->row_ranks, "ranks that share the tokens of each row")
      ->capture_default_str();
  command->add_option("--steps", options->steps, "steps that are timed")->capture_default_str();
  command->add_option("--precision", options->precision,
                      "float32 or bfloat16 (default: bfloat16 on a GPU, float32 on a CPU)");
  command->add_option("--cuda-graph", options->cuda_graph, "auto, on or off")
      ->capture_default_str();
  command->add_flag("--activation-checkpointing", options->activation_checkpointing,
                    "run blocks again in backward");
  command->add_flag("--shard-teacher", options->shard_teacher,
                    "each of several ranks holds a part of the teacher");
  add_device_options(*command, options->device);
  add_rank_options(*command, options->ranks);
  command->footer(
      "Example:\n  hypenet bench train --shape hypenet-2b --stage 2 --device cuda\n"
      "  hypenet bench train --shape tiny --stage 1");
  command->callback([options] {
    check(*options);
    as_rank(options->ranks, options->device, [&](auto device, const auto& communicator) {
      bench_train(*options, device, communicator);
    });
  });
}

}  // namespace hypenet
