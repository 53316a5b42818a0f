// RULER's five subjects, a file each (ruler_needle.cpp and so on): how one draws its prompts for a
// length, as NVIDIA's scripts do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/join.h"
#include "eval/ruler/sample.h"

namespace hypenet {

enum class Haystack { kRepeat, kEssay, kNeedle };
enum class NeedleText { kNumbers, kUuids, kWords };

/// A row of the table in 5.1.
struct NeedleTaskSpec {
  Haystack haystack = Haystack::kRepeat;
  NeedleText keys = NeedleText::kWords, values = NeedleText::kNumbers;
  int64_t key_count = 1, values_per_key = 1, queried_keys = 1;
};

/// "The grass is green. ...", the line of which the repeated haystack consists.
extern const std::string kRepeatedLine;

/// Subjects with a size. `name` is that of the task, for errors. Each call begins a random stream
/// of its own from options.seed; what is returned holds references to `options`.
/// `depths`: for each sample the percent of the haystack that stands before its needles; empty:
/// random ones, as RULER draws them.
RulerSubject needle_subject(const NeedleTaskSpec& spec, int64_t length, const TaskOptions& options,
                            const std::string& name, const std::vector<double>& depths = {});
RulerSubject variable_subject(int64_t length, const TaskOptions& options, const std::string& name);
RulerSubject repeated_words_subject(int64_t length, const TaskOptions& options,
                                    const std::string& name);
RulerSubject question_subject(bool is_squad, const TaskOptions& options, const std::string& name);

/// Frequent words have a rule of their own for the number of words.
std::vector<RulerSample> frequent_words_samples(int64_t length, int64_t count,
                                                const TaskOptions& options,
                                                const std::string& name);
inline constexpr int64_t kFrequentWordsAnswerTokens = 50;

/// "1. first 2. second ..."
std::string numbered(const std::vector<std::string>& words);

/// str(list) of Python, for strings: what the harness adds to a prompt when it counts tokens.
std::string python_list(const std::vector<std::string>& texts);

}  // namespace hypenet
