// The evaluation room's measures, one model at a time.
#include "halo/evaluate.h"

#include "eval/measures.h"

namespace hypenet {

Evaluation evaluate(Engine& engine, const Tokenizer& tokenizer,
                    const std::vector<int32_t>& held_out, const EvaluateConfig& config,
                    uint64_t seed, const std::function<void(int64_t, int64_t)>& report) {
  const auto total = static_cast<int64_t>(config.contexts.size()) + 1;
  Evaluation result;
  result.context = config.context;
  const TextMeasure text = measure_text(engine, held_out, config.context, config.windows);
  result.perplexity = text.perplexity;
  result.next_token_accuracy = text.next_token_accuracy;
  report(1, total);
  if (config.contexts.empty()) return result;
  const NeedleTask task(tokenizer);
  for (const int64_t context : config.contexts) {
    const RecallOptions options{context, config.needles, config.prompts, seed};
    const RecallMeasure recall = measure_recall(engine, task, held_out, options);
    result.recall.push_back({context, recall.share, recall.error});
    result.cache.push_back({context, cache_bytes(engine.config(), context)});
    report(1 + static_cast<int64_t>(result.recall.size()), total);
  }
  return result;
}

}  // namespace hypenet
