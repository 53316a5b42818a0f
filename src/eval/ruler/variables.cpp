// RULER, variable tracking: which names end up with a value that is handed on from one to the next.
#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "eval/python/numpy_random.h"
#include "eval/python/python_random.h"
#include "eval/python/python_text.h"
#include "eval/ruler/subjects.h"

namespace hypenet {
namespace {

constexpr int64_t kAnswerTokens = 30;
constexpr int64_t kExampleTokens = 500;  // of the solved example, at most
constexpr int64_t kNames = 5;            // one chain: a value and four hops
constexpr const char* kExampleValue = "12345";

class VariableDraw {
 public:
  VariableDraw(const TaskOptions& options, const std::string& name)
      : options_(options), random_(options.seed), numpy_(static_cast<uint32_t>(options.seed)) {
    make_example(name);
  }

  int64_t example_tokens() const { return example_tokens_; }

  /// A prompt without the example. RULER's example always has the value 12345.
  std::optional<RulerSample> draw(int64_t size, bool is_example) {
    const std::vector<std::string> names = draw_names(is_example ? 3 : 5);
    const bool is_fixed = is_example && !options_.ruler_as_harness;
    const std::string value = is_fixed ? kExampleValue : draw_value();
    if (std::ssize(names) > kNames) {
      // RULER begins a second chain, which has too few names, and draws anew.
      if (!is_fixed) draw_value();
      return std::nullopt;
    }
    std::vector<std::string> chain = {concat("VAR ", names[0], " = ", value)};
    for (size_t i = 1; i < names.size(); ++i) {
      chain.push_back(concat("VAR ", names[i], " = VAR ", names[i - 1], " "));
    }
    const std::optional<std::string> context = hide(chain, size);
    if (!context) return std::nullopt;

    RulerSample sample;
    sample.body = concat(
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n",
        *context, "\nQuestion: Find all variables that are assigned the value ", value,
        " in the text above.");
    sample.prefix =
        concat(" Answer: According to the chain(s) of variable assignment in the text above, ",
               kNames, " variables are ", options_.ruler_as_harness ? "assgined" : "assigned",
               " the value ", value, ", they are: ");
    sample.references = names;
    return sample;
  }

  /// The example with other names, to stand before a prompt.
  std::string next_example() {
    std::string text = example_;
    for (const std::string& name : example_names_) {
      text = replace_all(text, name, draw_letters(std::ssize(name)));
    }
    if (options_.ruler_as_harness) return text + "\n\n";
    return replace_all(text, kExampleValue, draw_value()) + "\n";
  }

 private:
  std::string draw_letters(int64_t count) {
    std::string letters;
    for (int64_t i = 0; i < count; ++i) {
      letters += static_cast<char>('A' + static_cast<int>(random_.uniform() * 26));
    }
    return letters;
  }

  std::string draw_value() { return std::to_string(numpy_.below(10000, 99999)); }

  /// Five names, and more until five of them are different.
  std::vector<std::string> draw_names(int64_t letters) {
    std::vector<std::string> names;
    std::set<std::string> different;
    while (std::ssize(names) < kNames || std::ssize(different) < kNames) {
      names.push_back(draw_letters(letters));
      different.insert(names.back());
    }
    return names;
  }

  /// The chain in order, before random lines of the repeated text.
  std::optional<std::string> hide(const std::vector<std::string>& chain, int64_t size) {
    std::vector<std::string> lines(static_cast<size_t>(size), kRepeatedLine);
    if (options_.ruler_as_harness) lines = harness_lines(size);
    if (std::ssize(lines) < std::ssize(chain)) return std::nullopt;
    std::vector<int64_t> places = random_.sample(std::ssize(lines), std::ssize(chain));
    std::ranges::sort(places);
    std::vector<std::string> hidden;
    for (size_t line = 0, next = 0; line < lines.size(); ++line) {
      // Places are of the lines alone.
      for (; next < places.size() && places[next] == static_cast<int64_t>(line); ++next) {
        hidden.push_back(chain[next]);
      }
      hidden.push_back(lines[line]);
    }
    const std::string text = join(hidden, options_.ruler_as_harness ? " " : "\n");
    return replace_all(text, ". \n", ".\n");
  }

  /// In the harness a line ends with its break, and few of them fall into sentences.
  static std::vector<std::string> harness_lines(int64_t size) {
    std::vector<std::string> lines(static_cast<size_t>(size), kRepeatedLine + "\n");
    if (size > kNames) return lines;
    lines.clear();
    for (int64_t i = 0; i < size; ++i) {
      for (size_t begin = 0; begin < kRepeatedLine.size();) {
        const size_t end = kRepeatedLine.find('.', begin) + 1;
        lines.push_back(kRepeatedLine.substr(begin, end - begin));
        begin = end;
      }
      lines.push_back("\n");
    }
    return lines;
  }

  void make_example(const std::string& name) {
    RulerSubject subject;
    subject.answer_tokens = options_.ruler_as_harness ? kAnswerTokens : 0;
    subject.step = 5;
    subject.draw = [this](int64_t, int64_t size) { return draw(size, true); };
    subject.tokens_in_search = [this](const RulerSample& sample) { return searched(sample); };
    const RulerSample example = draw_samples(subject, kExampleTokens, 1, options_, name).front();
    const char* end = options_.ruler_as_harness ? "\n\n" : "\n";
    example_ = concat(example.prompt(), " ", join(example.references, " "), end);
    example_names_ = example.references;
    example_tokens_ = count_tokens(*options_.tokenizer, example_);
  }

 public:
  /// What the search for a size counts of a prompt.
  int64_t searched(const RulerSample& sample) const {
    std::string text = sample.prompt();
    if (options_.ruler_as_harness) text += concat(" ", python_list(sample.references));
    return count_tokens(*options_.tokenizer, text);
  }

 private:
  const TaskOptions& options_;
  PythonRandom random_;
  NumpyRandom numpy_;
  std::string example_;
  std::vector<std::string> example_names_;
  int64_t example_tokens_ = 0;
};

}  // namespace

RulerSubject variable_subject(int64_t length, const TaskOptions& options, const std::string& name) {
  const auto draw = std::make_shared<VariableDraw>(options, name);
  const bool is_harness = options.ruler_as_harness;
  RulerSubject subject;
  subject.answer_tokens = kAnswerTokens;
  subject.step = length < 4096 && !is_harness ? 5 : 10;
  subject.trial = [draw](int64_t size) { return draw->draw(size, false); };
  subject.lead_tokens = draw->example_tokens();
  subject.tokens_in_search = [draw](const RulerSample& sample) { return draw->searched(sample); };
  subject.draw = [draw, is_harness](int64_t, int64_t size) {
    std::optional<RulerSample> sample = draw->draw(size, false);
    // The harness finds a prompt that fits before it draws the example's names.
    if (sample && !is_harness) sample->lead = draw->next_example();
    return sample;
  };
  if (!is_harness) return subject;
  subject.tokens_of_sample = [draw, &options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.prompt()) + draw->example_tokens();
  };
  subject.finish = [draw](RulerSample& sample) {
    sample.lead = draw->next_example();
    sample.prefix.pop_back();  // gen_prefix is stripped
  };
  return subject;
}

}  // namespace hypenet
