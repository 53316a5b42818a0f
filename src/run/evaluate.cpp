// The evaluation room's measures, one model at a time.
#include "run/evaluate.h"

#include "model/weights.h"

namespace hypenet {

void check_use(const HeldOutUse& use, const Tokenizer& tokenizer,
               const std::vector<int32_t>& held_out, const RunOptions& options) {
  const std::string place = concat(use.place, ": held-out text");
  if (use.windows > 0) {
    at_place(place, [&] {
      const auto rows = text_rows(held_out, use.context, use.windows);
      if (std::ssize(rows) < use.windows) {
        note(options,
             concat(use.place, ": the held-out text of ", held_out.size(), " tokens holds ",
                    rows.size(), " windows of ", use.context, " tokens, not ", use.windows));
      }
    });
  }
  if (use.recall.prompts == 0) return;
  at_place(place, [&] { recall_rows(NeedleTask(tokenizer), held_out, use.recall); });
  if (use.recall.context > std::ssize(held_out)) {
    note(options, concat(use.place, ": recall prompts of ", use.recall.context,
                         " tokens repeat the held-out text of ", held_out.size(), " tokens"));
  }
}

void check_evaluation(const EvaluateConfig& config, const Tokenizer& tokenizer,
                      const std::vector<int32_t>& held_out, const RunOptions& options) {
  check_use({"evaluate", config.context, config.windows, {.prompts = 0}}, tokenizer, held_out,
            options);
  for (const int64_t context : config.contexts) {
    check_use({"evaluate", 0, 0, {context, config.needles, config.prompts, 0}}, tokenizer, held_out,
              options);
  }
}

Evaluation evaluate(const std::filesystem::path& folder, const std::string& name,
                    const EvaluationInputs& inputs, const RunOptions& options) {
  const auto& [config, tokenizer, held_out, seed] = inputs;
  CausalLm model = load_model(open_rounded(folder), torch::kFloat32, options.device);
  Engine engine(model);
  Communicator& ranks = *options.communicator;
  const auto total = static_cast<int64_t>(config.contexts.size()) + 1;
  const auto report = [&](int64_t done) {
    check_stop(options);
    show_progress(options, "evaluate " + name, done, total);
  };
  Evaluation result;
  result.context = config.context;
  const TextMeasure text = measure_text(engine, ranks, held_out, config.context, config.windows);
  result.perplexity = text.perplexity;
  result.next_token_accuracy = text.next_token_accuracy;
  report(1);
  if (config.contexts.empty()) return result;
  const NeedleTask task(tokenizer);
  for (const int64_t context : config.contexts) {
    const RecallMeasure recall = measure_recall(engine, ranks, task, held_out,
                                                {context, config.needles, config.prompts, seed});
    result.recall.push_back({context, recall.share, recall.error});
    result.cache.push_back({context, cache_bytes(engine.config(), context)});
    report(1 + static_cast<int64_t>(result.recall.size()));
  }
  return result;
}

}  // namespace hypenet
