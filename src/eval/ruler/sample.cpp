// Sizes are found once a task and length, by drawing prompts and counting their tokens.
#include "eval/ruler/sample.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hypenet {
namespace {

// A sample that fits in none of so many draws never will.
constexpr int64_t kMostDraws = 200;

class SizeSearch {
 public:
  SizeSearch(const RulerSubject& subject, int64_t length, const TaskOptions& options,
             std::string name)
      : subject_(subject), length_(length), options_(options), name_(std::move(name)) {}

  int64_t size() const { return options_.ruler_as_harness ? climb() : bisect(); }

  /// The sample, from a smaller size when the drawn prompt is too long.
  RulerSample sample(int64_t index, int64_t size) const {
    int64_t shortest = INT64_MAX;
    for (int64_t i = 0; i < kMostDraws; ++i) {
      std::optional<RulerSample> drawn = subject_.draw(index, size);
      if (drawn) {
        const int64_t tokens = tokens_of(*drawn, subject_.tokens_of_sample);
        if (tokens <= length_) {
          if (subject_.finish) subject_.finish(*drawn);
          return std::move(*drawn);
        }
        shortest = std::min(shortest, tokens);
      }
      if (size > subject_.step) size -= subject_.step;
    }
    throw Error(shortest == INT64_MAX
                    ? concat(name_, ": expected a length that holds a prompt, found none")
                    : concat(name_, ": expected a prompt and its answer in ", length_,
                             " tokens, found ", shortest, " and more"));
  }

 private:
  using Count = std::function<int64_t(const RulerSample&)>;

  int64_t tokens_of(const RulerSample& sample, const Count& count) const {
    return subject_.answer_tokens +
           (count ? count(sample) : count_tokens(*options_.tokenizer, sample.prompt()));
  }

  /// Tokens of a prompt of this size, with its answer.
  int64_t tokens_at(int64_t size) const {
    const auto sample = subject_.trial ? subject_.trial(size) : subject_.draw(0, size);
    HYPENET_CHECK(sample.has_value(), name_, ": expected a prompt of size ", size,
                  ", found that it cannot hold what is asked for");
    return tokens_of(*sample, subject_.tokens_in_search) + subject_.lead_tokens;
  }

  /// RULER's rule. The bound is computed in doubles as there: the midpoints follow from it.
  int64_t bisect() const {
    const int64_t first = subject_.first_size > 0 ? subject_.first_size : subject_.step;
    const int64_t tokens = tokens_at(first) - subject_.answer_tokens - subject_.lead_tokens;
    const double each = static_cast<double>(tokens) / static_cast<double>(first);
    const double fitting = static_cast<double>(length_) / each;
    const double bound = subject_.grows_whole
                             ? std::floor(fitting) * static_cast<double>(subject_.growth)
                             : fitting * static_cast<double>(subject_.growth);
    int64_t low = subject_.step, found = subject_.step;
    int64_t high = std::max(static_cast<int64_t>(bound), 2 * subject_.step);
    while (low <= high) {
      const int64_t middle = (low + high) / 2;
      if (tokens_at(middle) <= length_) {
        found = middle;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    return found;
  }

  /// The harness's rule.
  int64_t climb() const {
    int64_t size = subject_.step;
    for (int64_t tokens = subject_.answer_tokens; tokens < length_;) {
      tokens = tokens_at(size);
      if (tokens > length_) return size - subject_.step;
      const int64_t last = subject_.is_most_tried ? size : size + subject_.step;
      if (subject_.most > 0 && last > subject_.most) return subject_.most;
      size += subject_.step;
    }
    return size;
  }

  const RulerSubject& subject_;
  const int64_t length_;
  const TaskOptions& options_;
  const std::string name_;
};

}  // namespace

int64_t count_tokens(const Tokenizer& tokenizer, const std::string& text) {
  return static_cast<int64_t>(tokenizer.encode(text).size());
}

std::vector<RulerSample> draw_samples(const RulerSubject& subject, int64_t length, int64_t count,
                                      const TaskOptions& options, const std::string& name) {
  const SizeSearch search(subject, length, options, name);
  const int64_t size = search.size();
  std::vector<RulerSample> samples;
  count = std::min(count, subject.samples);
  samples.reserve(static_cast<size_t>(count));
  for (int64_t index = 0; index < count; ++index) samples.push_back(search.sample(index, size));
  return samples;
}

}  // namespace hypenet
