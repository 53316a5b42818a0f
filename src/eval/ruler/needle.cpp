// RULER, needles: "One of the special magic numbers for KEY is: VALUE." in a haystack.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <span>

#include "base/error.h"
#include "eval/python/python_random.h"
#include "eval/ruler/data.h"
#include "eval/ruler/subjects.h"
#include "eval/ruler/words.h"

namespace hypenet {

const std::string kRepeatedLine =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

namespace {

constexpr int64_t kAnswerTokens = 128;
constexpr int64_t kDepths = 40;  // that an essay's needles are spread over

/// The plural, as a needle says it.
std::string name_of(NeedleText text) {
  switch (text) {
    case NeedleText::kNumbers:
      return "numbers";
    case NeedleText::kUuids:
      return "uuids";
    case NeedleText::kWords:
      return "words";
  }
  return {};
}

/// 128 random bits as a UUID of version 4.
std::string draw_uuid(PythonRandom& random) {
  constexpr uint64_t kVersionBits = 0xF000, kVariantBits = uint64_t{3} << 62;
  uint64_t low = random.bits(64), high = random.bits(64);
  low = (low & ~kVariantBits) | (uint64_t{1} << 63);
  high = (high & ~kVersionBits) | 0x4000;
  std::string text;
  for (int digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) text += '-';
    const uint64_t half = digit < 16 ? high : low;
    text += "0123456789abcdef"[(half >> (4 * (15 - digit % 16))) & 15];
  }
  return text;
}

/// round(i * 100 / 39), i below 40, halves to even.
int64_t depth_at(int64_t place) {
  const double step = 100.0 / (kDepths - 1);
  return std::lrint(place == kDepths - 1 ? 100.0 : static_cast<double>(place) * step);
}

class NeedleDraw {
 public:
  NeedleDraw(const NeedleTaskSpec& spec, const TaskOptions& options, const std::string& name,
             std::vector<double> depths)
      : spec_(spec), seed_(options.seed), random_(options.seed), depths_(std::move(depths)) {
    if (spec.haystack != Haystack::kEssay) return;
    essays_.emplace(options.data, name);
    if (options.ruler_as_harness) max_words_ = essays_->size();
  }

  int64_t max_words() const { return max_words_; }

  std::optional<RulerSample> draw(int64_t index, int64_t size) {
    std::vector<std::string> keys, needles;
    std::vector<std::vector<std::string>> values;
    for (int64_t i = 0; i < spec_.key_count; ++i) {
      keys.push_back(draw_text(spec_.keys));
      values.emplace_back();
      for (int64_t j = 0; j < spec_.values_per_key; ++j) {
        values.back().push_back(draw_text(spec_.values));
        needles.push_back(needle(keys.back(), values.back().back()));
      }
    }
    PythonRandom(seed_).shuffle(needles);
    const std::optional<std::string> context = spec_.haystack == Haystack::kEssay
                                                   ? essay_context(index, size, needles)
                                                   : line_context(index, size, needles);
    if (!context) return std::nullopt;

    std::vector<std::string> queried;
    RulerSample sample;
    for (const int64_t i : random_.sample(spec_.key_count, spec_.queried_keys)) {
      queried.push_back(keys[static_cast<size_t>(i)]);
      for (std::string& value : values[static_cast<size_t>(i)]) {
        sample.references.push_back(std::move(value));
      }
    }
    ask(*context, queried, sample);
    return sample;
  }

 private:
  std::string draw_text(NeedleText kind) {
    switch (kind) {
      case NeedleText::kNumbers:
        return std::to_string(random_.between(1000000, 9999999));
      case NeedleText::kUuids:
        return draw_uuid(random_);
      case NeedleText::kWords:
        return words_.at(random_.below(words_.size()));
    }
    return {};
  }

  std::string needle(const std::string& key, const std::string& value) const {
    return concat("One of the special magic ", name_of(spec_.values), " for ", key, " is: ", value,
                  ".");
  }

  /// The depth asked for; the search for a size draws that of sample 0.
  double depth_of(int64_t index) const { return depths_[static_cast<size_t>(index)]; }

  std::vector<double> draw_depths(int64_t index, size_t count) {
    if (!depths_.empty()) return std::vector<double>(count, depth_of(index));
    std::vector<double> depths;
    for (const int64_t place : random_.sample(kDepths, static_cast<int64_t>(count))) {
      depths.push_back(static_cast<double>(depth_at(place)));
    }
    return depths;
  }

  static size_t place_at(double depth, int64_t count) {
    return static_cast<size_t>(static_cast<double>(count) * (depth / 100));
  }

  /// Sentences of essays with needles at random depths.
  std::optional<std::string> essay_context(int64_t index, int64_t size,
                                           const std::vector<std::string>& needles) {
    if (max_words_ > 0) size = std::min(size, max_words_);
    if (std::ssize(needles) > kDepths) return std::nullopt;
    if (size != essay_words_) {
      sentences_ = essays_->sentences(size);
      essay_words_ = size;
    }
    std::vector<size_t> ends;
    for (const double depth : draw_depths(index, needles.size())) {
      ends.push_back(place_at(depth, std::ssize(sentences_)));
    }
    std::ranges::sort(ends);
    ends.push_back(sentences_.size());
    // A part without a sentence still has the space after it.
    std::vector<std::string> parts;
    size_t begin = 0;
    for (size_t i = 0; i < ends.size(); ++i) {
      parts.push_back(join(std::span(sentences_).subspan(begin, ends[i] - begin), " "));
      if (i < needles.size()) parts.push_back(needles[i]);
      begin = ends[i];
    }
    return join(parts, " ");
  }

  /// Lines, the same one or other needles, with needles before random ones.
  std::optional<std::string> line_context(int64_t index, int64_t size,
                                          const std::vector<std::string>& needles) {
    std::vector<std::string> lines;
    for (int64_t i = 0; i < size; ++i) {
      if (spec_.haystack == Haystack::kRepeat) {
        lines.push_back(kRepeatedLine);
      } else {
        const std::string key = draw_text(spec_.keys);
        lines.push_back(needle(key, draw_text(spec_.values)));
      }
    }
    if (std::ssize(needles) > size) return std::nullopt;
    std::vector<int64_t> places(needles.size());
    if (depths_.empty()) {
      places = random_.sample(size, std::ssize(needles));
      std::ranges::sort(places, std::greater<>());
    } else {
      std::ranges::fill(places, static_cast<int64_t>(place_at(depth_of(index), size)));
    }
    for (size_t i = 0; i < needles.size(); ++i) lines.insert(lines.begin() + places[i], needles[i]);
    return join(lines, "\n");
  }

  void ask(const std::string& context, std::vector<std::string> queried,
           RulerSample& sample) const {
    const bool is_one = spec_.queried_keys * spec_.values_per_key == 1;
    std::string kind = name_of(spec_.values);
    if (is_one) kind.pop_back();
    if (queried.size() > 1) queried.back().insert(0, "and ");
    const std::string query = join(queried, ", ");
    sample.body =
        concat(is_one ? "A special magic " : "Some special magic ", kind,
               is_one ? " is hidden" : " are hidden",
               " within the following text. Make sure to memorize it. I will quiz you "
               "about the ",
               kind, " afterwards.\n", context, "\nWhat ", is_one ? "is" : "are all",
               " the special magic ", kind, " for ", query, " mentioned in the provided text?");
    sample.prefix = concat(" The special magic ", kind, " for ", query,
                           " mentioned in the provided text ", is_one ? "is" : "are");
  }

  const NeedleTaskSpec spec_;
  const uint64_t seed_;
  PythonRandom random_;
  const std::vector<double> depths_;  // percent, by sample; empty: random
  const WordPairs words_;
  std::optional<Essays> essays_;
  int64_t max_words_ = 0;  // the harness does not repeat the essays
  int64_t essay_words_ = -1;
  std::vector<std::string> sentences_;  // of essay_words_ words
};

}  // namespace

RulerSubject needle_subject(const NeedleTaskSpec& spec, int64_t length, const TaskOptions& options,
                            const std::string& name, const std::vector<double>& depths) {
  const auto draw = std::make_shared<NeedleDraw>(spec, options, name, depths);
  RulerSubject subject;
  subject.answer_tokens = kAnswerTokens;
  subject.step = spec.haystack == Haystack::kEssay ? 500 : length < 4096 ? 5 : 25;
  subject.draw = [draw](int64_t index, int64_t size) { return draw->draw(index, size); };
  if (!options.ruler_as_harness) return subject;
  subject.most = draw->max_words();
  subject.is_most_tried = true;
  subject.tokens_in_search = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.body + join(sample.references, " "));
  };
  subject.tokens_of_sample = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.body);
  };
  return subject;
}

}  // namespace hypenet
