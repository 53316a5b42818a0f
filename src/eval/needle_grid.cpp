// The grid's prompts and scores. Essays and repeated lines are RULER's (ruler_needle.cpp) at given
// depths; facts are sentences of the recall task between words of prose.
#include "eval/needle_grid.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "data/synthetic/needle_sentences.h"
#include "eval/ruler/subjects.h"

namespace hypenet {
namespace {

constexpr int64_t kAnswerDigits = 4;

const std::map<std::string, NeedleHaystack>& haystacks() {
  static const std::map<std::string, NeedleHaystack> kNames = {
      {"essays", NeedleHaystack::kEssays},
      {"repeated", NeedleHaystack::kRepeated},
      {"facts", NeedleHaystack::kFacts}};
  return kNames;
}

std::string haystack_name(NeedleHaystack haystack) {
  return std::ranges::find(haystacks(), haystack, [](const auto& named) { return named.second; })
      ->first;
}

void check_options(const NeedleGridOptions& options) {
  HYPENET_CHECK(options.tokenizer != nullptr, "needle-grid: expected a tokenizer, found none");
  HYPENET_CHECK(!options.contexts.empty(), "needle-grid: expected a context, found none");
  for (const int64_t context : options.contexts) {
    HYPENET_CHECK(context > 0, "needle-grid: expected contexts above 0, found ", context);
  }
  HYPENET_CHECK(options.depths >= 2, "needle-grid: expected at least 2 depths, found ",
                options.depths);
  HYPENET_CHECK(options.samples >= 1, "needle-grid: expected at least 1 sample a cell, found ",
                options.samples);
}

std::vector<double> spread_depths(int64_t count) {
  std::vector<double> depths;
  depths.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    depths.push_back(100.0 * static_cast<double>(i) / static_cast<double>(count - 1));
  }
  return depths;
}

/// Prompts of one context, in the order of depths and samples.
std::vector<TaskItem> ruler_items(const NeedleGridOptions& options, int64_t context,
                                  const std::vector<double>& depths) {
  const TaskOptions task = {
      .data = options.data, .seed = options.seed, .tokenizer = options.tokenizer};
  const bool is_essay = options.haystack == NeedleHaystack::kEssays;
  const NeedleTaskSpec spec = {.haystack = is_essay ? Haystack::kEssay : Haystack::kRepeat};
  std::vector<double> by_sample;
  for (const double depth : depths) {
    by_sample.insert(by_sample.end(), static_cast<size_t>(options.samples), depth);
  }
  const std::string name = concat("needle-grid/", context);
  RulerSubject subject = needle_subject(spec, context, task, name, by_sample);
  // RULER's steps would leave a cell's prompts of very different lengths.
  subject.first_size = subject.step;
  subject.step = is_essay ? 20 : 1;
  std::vector<TaskItem> items;
  for (RulerSample& sample : draw_samples(subject, context, std::ssize(by_sample), task, name)) {
    TaskItem& item = items.emplace_back();
    item.requests = {{.kind = RequestKind::kGenerate,
                      .context = sample.prompt(),
                      .max_tokens = subject.answer_tokens,
                      .length = context}};
    item.references = std::move(sample.references);
  }
  return items;
}

/// Prompts of facts between words of prose.
class FactPrompts {
 public:
  explicit FactPrompts(const NeedleGridOptions& options)
      : options_(options), nouns_(needle_key_nouns(*options.tokenizer, NeedleKeys::kHeldOut)) {
    HYPENET_CHECK(!options.prose.empty(),
                  "needle-grid: expected prose to hide facts in, found none");
    HYPENET_CHECK(1 <= options.facts && options.facts <= std::ssize(nouns_),
                  "needle-grid: expected 1 to ", nouns_.size(), " facts, found ", options.facts);
    check_digit_tokens(*options.tokenizer);  // answers are counted in digits
  }

  TaskItem make(int64_t context, double depth, Random& random) const {
    const std::vector<std::string> keys = draw_keys(random);
    std::vector<std::string> answers(keys.size()), facts;
    for (size_t i = 0; i < keys.size(); ++i) {
      for (int64_t digit = 0; digit < kAnswerDigits; ++digit) {
        answers[i] += static_cast<char>('0' + random.below(10));
      }
      facts.push_back(needle_sentence(keys[i], answers[i]));
    }
    // The first fact is asked for and has its depth; the others stand anywhere.
    std::vector<double> depths = {depth / 100};
    while (depths.size() < facts.size()) depths.push_back(random.uniform());
    const std::string question = needle_question(keys[0]);
    std::vector<std::string> words = draw_words(context, random);
    std::string prompt = hide(words, facts, depths) + question;
    const auto too_many = [&] {
      return count_tokens(*options_.tokenizer, prompt) + kAnswerDigits - context;
    };
    for (int64_t surplus = too_many(); surplus > 0; surplus = too_many()) {
      HYPENET_CHECK(!words.empty(), "needle-grid/", context, ": expected room for ", facts.size(),
                    " facts and a question, found a context that is ", surplus, " tokens short");
      // A word has at least one token, and mostly not many more.
      const int64_t fewer = std::max<int64_t>(1, surplus * 2 / 3);
      words.resize(words.size() - static_cast<size_t>(std::min(fewer, std::ssize(words))));
      prompt = hide(words, facts, depths) + question;
    }
    TaskItem item;
    item.requests = {{.kind = RequestKind::kGenerate,
                      .context = std::move(prompt),
                      .max_tokens = kAnswerDigits,
                      .length = context}};
    item.references = {answers[0]};
    return item;
  }

 private:
  std::vector<std::string> draw_keys(Random& random) const {
    std::vector<std::string> pool = nouns_;
    const auto count = static_cast<size_t>(options_.facts);
    for (size_t i = 0; i < count; ++i) {
      std::swap(
          pool[i],
          pool[i + static_cast<size_t>(random.below(std::ssize(pool) - static_cast<int64_t>(i)))]);
    }
    pool.resize(count);
    return pool;
  }

  /// Words, each with the space before it, of `tokens` tokens of the prose from a random place.
  std::vector<std::string> draw_words(int64_t tokens, Random& random) const {
    const std::vector<int32_t>& prose = options_.prose;
    const auto begin = static_cast<size_t>(random.below(std::ssize(prose)));
    std::vector<int32_t> ids;
    ids.reserve(static_cast<size_t>(tokens));
    for (size_t i = 0; i < static_cast<size_t>(tokens); ++i) {
      ids.push_back(prose[(begin + i) % prose.size()]);
    }
    const std::string text = options_.tokenizer->decode(ids, true);
    // What stands before the first space may be half a word.
    std::vector<std::string> words;
    for (size_t at = text.find(' '); at != text.npos;) {
      const size_t next = text.find(' ', at + 1);
      words.push_back(text.substr(at, next == text.npos ? next : next - at));
      at = next;
    }
    if (!words.empty()) words.pop_back();  // and the last one too
    return words;
  }

  static std::string hide(const std::vector<std::string>& words,
                          const std::vector<std::string>& facts,
                          const std::vector<double>& depths) {
    std::multimap<size_t, size_t> places;  // words before a fact -> the fact
    for (size_t i = 0; i < facts.size(); ++i) {
      places.emplace(static_cast<size_t>(depths[i] * static_cast<double>(words.size())), i);
    }
    std::string text;
    size_t done = 0;
    for (const auto& [place, fact] : places) {
      for (; done < place; ++done) text += words[done];
      text += facts[fact];
    }
    for (; done < words.size(); ++done) text += words[done];
    return text;
  }

  const NeedleGridOptions& options_;
  const std::vector<std::string> nouns_;
};

std::vector<TaskItem> fact_items(const NeedleGridOptions& options, int64_t context,
                                 const std::vector<double>& depths) {
  const FactPrompts prompts(options);
  std::vector<TaskItem> items;
  for (size_t depth = 0; depth < depths.size(); ++depth) {
    for (int64_t sample = 0; sample < options.samples; ++sample) {
      Random random(options.seed, {context, static_cast<int64_t>(depth), sample});
      items.push_back(prompts.make(context, depths[depth], random));
    }
  }
  return items;
}

}  // namespace

NeedleHaystack parse_needle_haystack(const std::string& name) {
  const auto found = haystacks().find(name);
  HYPENET_CHECK(found != haystacks().end(),
                "needle-grid: expected essays, repeated or facts, found ", name);
  return found->second;
}

std::vector<EvalRequest> NeedlePrompts::requests() const {
  std::vector<EvalRequest> requests;
  requests.reserve(items.size());
  for (const TaskItem& item : items) requests.push_back(item.requests.at(0));
  return requests;
}

NeedlePrompts make_needle_prompts(const NeedleGridOptions& options) {
  check_options(options);
  NeedlePrompts prompts;
  prompts.haystack = options.haystack;
  prompts.contexts = options.contexts;
  prompts.depths = spread_depths(options.depths);
  prompts.samples = options.samples;
  for (const int64_t context : options.contexts) {
    std::vector<TaskItem> items = options.haystack == NeedleHaystack::kFacts
                                      ? fact_items(options, context, prompts.depths)
                                      : ruler_items(options, context, prompts.depths);
    for (TaskItem& item : items) {
      item.id = std::to_string(prompts.items.size());
      prompts.items.push_back(std::move(item));
    }
  }
  return prompts;
}

double NeedleGrid::mean() const {
  double sum = 0;
  for (const auto& row : shares) {
    for (const double share : row) sum += share;
  }
  return sum / static_cast<double>(contexts.size() * depths.size());
}

NeedleGrid score_needle_prompts(const NeedlePrompts& prompts, std::span<const EvalAnswer> answers,
                                std::string name) {
  HYPENET_CHECK(answers.size() == prompts.items.size(), "needle-grid: expected ",
                prompts.items.size(), " answers, found ", answers.size());
  NeedleGrid grid = {.name = std::move(name),
                     .contexts = prompts.contexts,
                     .depths = prompts.depths,
                     .samples = prompts.samples,
                     .haystack = haystack_name(prompts.haystack)};
  size_t next = 0;
  for (size_t context = 0; context < prompts.contexts.size(); ++context) {
    grid.shares.emplace_back();
    for (size_t depth = 0; depth < prompts.depths.size(); ++depth) {
      double sum = 0;
      for (int64_t sample = 0; sample < prompts.samples; ++sample, ++next) {
        const TaskItem& item = prompts.items[next];
        sum += prompts.haystack == NeedleHaystack::kFacts
                   ? static_cast<double>(answers[next].text == item.references.at(0))
                   : Scoring::kAllReferences.score(item, answers.subspan(next, 1)).at(0);
      }
      grid.shares.back().push_back(sum / static_cast<double>(prompts.samples));
    }
  }
  return grid;
}

NeedleGrid run_needle_grid(
    const NeedlePrompts& prompts, std::string name,
    const std::function<std::vector<EvalAnswer>(std::span<const EvalRequest>)>& answer) {
  return score_needle_prompts(prompts, answer(prompts.requests()), std::move(name));
}

Json needle_grid_json(const NeedleGrid& grid) {
  Json json = {{"name", grid.name},       {"contexts", grid.contexts}, {"depths", grid.depths},
               {"samples", grid.samples}, {"shares", grid.shares},     {"mean", grid.mean()}};
  if (!grid.haystack.empty()) json["haystack"] = grid.haystack;
  if (!grid.settings.is_null()) json["settings"] = grid.settings;
  return json;
}

}  // namespace hypenet
