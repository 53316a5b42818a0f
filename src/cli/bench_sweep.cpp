// hypenet bench sweep: the layer sweep on random weights and random tokens, and what the published
// one would take.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "base/random.h"
#include "bench/shapes.h"
#include "cli/bench.h"
#include "cli/device.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "engine/score.h"
#include "halo/variant_answers.h"
#include "report/table.h"

namespace hypenet {
namespace {

// Of the published sweep: squad, fda and swde; arc_easy, arc_challenge and hellaswag.
constexpr double kGenerations = 2713, kQuestions = 13590;

struct BenchSweep {
  std::string shape = "hypenet-2b", type = "bfloat16";
  int64_t items = 64, prompt_tokens = 2000, answers = 48;
  int64_t questions = 256, context_tokens = 60, choice_tokens = 20, choices = 4;
  int64_t memory_bytes = 0;
  DeviceOptions device;
};

std::vector<int32_t> random_ids(Random& random, int64_t count, int64_t vocab_size) {
  std::vector<int32_t> ids;
  ids.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.below(vocab_size)));
  return ids;
}

LayerVariants random_variants(const BenchSweep& options, torch::Device device) {
  const torch::ScalarType type = parse_type(options.type);
  const BenchShape shape = bench_shape(options.shape);
  CausalLm teacher = random_model(shape.teacher, type, device);
  CausalLm twins = random_model(shape.student({}), type, device);
  const auto shared = teacher->named_parameters();
  for (auto& item : twins->named_parameters()) {
    if (item.key().find(".self_attn.") == std::string::npos) {
      item.value().set_data(shared[item.key()].data());
    }
  }
  teacher->prepare({.type = type}), twins->prepare({.type = type});
  return {teacher, twins};
}

template <class Work>
double seconds(const Work& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// All variants on `count` questions of options.choices rows each.
double score_seconds(LayerVariants& variants, const BenchSweep& options, int64_t count) {
  Random random(1);
  const int64_t vocab_size = variants.teacher()->config().vocab_size;
  std::vector<ScoredRow> rows;
  for (int64_t question = 0; question < count; ++question) {
    const auto context = random_ids(random, options.context_tokens, vocab_size);
    for (int64_t choice = 0; choice < options.choices; ++choice) {
      ScoredRow row{context, options.context_tokens};
      const auto end = random_ids(random, options.choice_tokens, vocab_size);
      row.ids.insert(row.ids.end(), end.begin(), end.end());
      rows.push_back(std::move(row));
    }
  }
  return seconds([&] {
    score_variants(variants.teacher(), rows, variants.hidden(),
                   {.report = [](int64_t, int64_t) { throw_if_interrupted(); }});
  });
}

/// Answers of all variants to `count` prompts; none ends early.
double generate_seconds(LayerVariants& variants, const BenchSweep& options, int64_t count,
                        int64_t answer_tokens) {
  Random random(2);
  std::vector<Request> requests;
  requests.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    Request& request = requests.emplace_back();
    request.prompt =
        random_ids(random, options.prompt_tokens, variants.teacher()->config().vocab_size);
    request.options.max_tokens = answer_tokens;
  }
  VariantRespondent respondent(variants, options.memory_bytes);
  return seconds([&] {
    respondent.generate(requests, {.on_answer = [](size_t, size_t, const auto&) {},
                                   .on_step = throw_if_interrupted});
  });
}

void check(const BenchSweep& options) {
  for (const int64_t count :
       {options.items, options.prompt_tokens, options.answers, options.questions,
        options.context_tokens, options.choice_tokens, options.choices}) {
    HYPENET_CHECK(count > 0, "bench sweep: expected counts of at least 1, found ", count);
  }
}

void bench_sweep(const BenchSweep& options) {
  check(options);
  const torch::Device device = use_device(options.device);
  Progress progress;
  progress.show("bench sweep: weights");
  LayerVariants variants = random_variants(options, device);
  progress.show("bench sweep: first runs");
  score_seconds(variants, options, std::min<int64_t>(options.questions, 8));
  generate_seconds(variants, options, 1, 2);
  progress.show("bench sweep: questions");
  const double question =
      score_seconds(variants, options, options.questions) / static_cast<double>(options.questions);
  progress.show("bench sweep: generations");
  const double generation = generate_seconds(variants, options, options.items, options.answers) /
                            static_cast<double>(options.items);
  progress.finish("bench sweep: done");
  Table table{{"part", "measured", "seconds an item", "published sweep", "hours"}, {}};
  const auto add = [&](const std::string& part, int64_t measured, double item, double all) {
    table.rows.push_back({part, std::to_string(measured), fmt::format("{:.4f}", item),
                          fmt::format("{:.0f}", all), fmt::format("{:.3f}", item * all / 3600)});
  };
  add("questions", options.questions, question, kQuestions);
  add("generations", options.items, generation, kGenerations);
  std::cout << fmt::format(
                   "layer sweep of {} ({} variants), {}, {}: questions of {} + {} x {} tokens, "
                   "generations of {} + {} tokens\n\n",
                   options.shape, variants.count(), options.type, device.str(),
                   options.context_tokens, options.choices, options.choice_tokens,
                   options.prompt_tokens, options.answers)
            << format_table(table)
            << fmt::format("\nall of it: {:.2f} hours\n",
                           (question * kQuestions + generation * kGenerations) / 3600);
}

}  // namespace

void add_bench_sweep_command(CLI::App& bench) {
  const auto options = std::make_shared<BenchSweep>();
  CLI::App* command = bench.add_subcommand("sweep", "seconds an item of the layer sweep");
  command->add_option("--shape", options->shape, training_shapes())->capture_default_str();
  command->add_option("--dtype", options->type, "float32 or bfloat16")->capture_default_str();
  command->add_option("--items", options->items, "prompts to answer")->capture_default_str();
  command->add_option("--prompt-tokens", options->prompt_tokens, "of a prompt")
      ->capture_default_str();
  command->add_option("--answers", options->answers, "tokens of an answer")->capture_default_str();
  command->add_option("--questions", options->questions, "questions to score")
      ->capture_default_str();
  command->add_option("--context-tokens", options->context_tokens, "of a question")
      ->capture_default_str();
  command->add_option("--choice-tokens", options->choice_tokens, "of a choice")
      ->capture_default_str();
  command->add_option("--choices", options->choices, "of a question")->capture_default_str();
  add_memory_option(
      *command, options->memory_bytes,
      "for prompts: 8G, 512M, or a number of GiB (0: half of a GPU's free memory, or 2 GiB)");
  add_device_options(*command, options->device);
  command->footer(
      "Example:\n  hypenet bench sweep --shape hypenet-2b --prompt-tokens 2000 --items 64 "
      "--device cuda");
  command->callback([options] { bench_sweep(*options); });
}

}  // namespace hypenet
