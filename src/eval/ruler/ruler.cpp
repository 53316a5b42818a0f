// The thirteen tasks by name, and their samples as items.
#include "eval/ruler/ruler.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "eval/ruler/subjects.h"

namespace hypenet {
namespace {

const std::map<std::string, NeedleTaskSpec, std::less<>>& needle_tasks() {
  using enum Haystack;
  using enum NeedleText;
  static const std::map<std::string, NeedleTaskSpec, std::less<>> kTasks = {
      {"niah_single_1", {kRepeat, kWords, kNumbers}},
      {"niah_single_2", {kEssay, kWords, kNumbers}},
      {"niah_single_3", {kEssay, kWords, kUuids}},
      {"niah_multikey_1", {kEssay, kWords, kNumbers, 4}},
      {"niah_multikey_2", {kNeedle, kWords, kNumbers}},
      {"niah_multikey_3", {kNeedle, kUuids, kUuids}},
      {"niah_multivalue", {kEssay, kWords, kNumbers, 1, 4}},
      {"niah_multiquery", {kEssay, kWords, kNumbers, 4, 1, 4}}};
  return kTasks;
}

RulerSubject make_subject(const std::string& task, int64_t length, const TaskOptions& options,
                          const std::string& name) {
  const auto needles = needle_tasks().find(task);
  if (needles != needle_tasks().end()) {
    return needle_subject(needles->second, length, options, name);
  }
  if (task == "ruler_vt") return variable_subject(length, options, name);
  if (task == "ruler_cwe") return repeated_words_subject(length, options, name);
  return question_subject(task == "ruler_qa_squad", options, name);
}

void check_options(const std::string& task, const TaskOptions& options) {
  const auto& names = ruler_task_names();
  HYPENET_CHECK(std::ranges::find(names, task) != names.end(), "task ", task,
                ": expected one of RULER's, found none of this name");
  HYPENET_CHECK(options.tokenizer != nullptr, task, ": expected a tokenizer, found none");
  HYPENET_CHECK(options.samples > 0, task, ": expected at least 1 sample, found ", options.samples);
  HYPENET_CHECK(options.seed <= UINT32_MAX, task, ": expected a seed below 2^32, found ",
                options.seed);
  HYPENET_CHECK(!options.lengths.empty(), task, ": expected a length, found none");
  for (const int64_t length : options.lengths) {
    HYPENET_CHECK(length > 0, task, ": expected lengths above 0, found ", length);
  }
}

Task make_task(const std::string& task, int64_t length, const TaskOptions& options) {
  Task made;
  made.name = concat(task, "/", length);
  made.group = "ruler";
  made.version = 1;
  made.scoring =
      task.starts_with("ruler_qa") ? &Scoring::kPartOfReferences : &Scoring::kAllReferences;
  const int64_t count =
      options.limit > 0 ? std::min(options.limit, options.samples) : options.samples;
  int64_t answer_tokens = kFrequentWordsAnswerTokens;
  std::vector<RulerSample> samples;
  if (task == "ruler_fwe") {
    samples = frequent_words_samples(length, count, options, made.name);
  } else {
    const RulerSubject subject = make_subject(task, length, options, made.name);
    answer_tokens = subject.answer_tokens;
    samples = draw_samples(subject, length, count, options, made.name);
  }
  for (RulerSample& sample : samples) {
    TaskItem& item = made.items.emplace_back();
    item.id = std::to_string(made.items.size() - 1);
    item.requests = {{.kind = RequestKind::kGenerate,
                      .context = sample.prompt(),
                      .max_tokens = answer_tokens,
                      .length = length}};
    item.references = std::move(sample.references);
  }
  return made;
}

}  // namespace

const std::vector<std::string>& ruler_task_names() {
  static const std::vector<std::string> kNames = {
      "niah_single_1",   "niah_single_2",   "niah_single_3",   "niah_multikey_1", "niah_multikey_2",
      "niah_multikey_3", "niah_multivalue", "niah_multiquery", "ruler_vt",        "ruler_cwe",
      "ruler_fwe",       "ruler_qa_squad",  "ruler_qa_hotpot"};
  return kNames;
}

std::vector<Task> load_ruler_task(std::string_view name, const TaskOptions& options) {
  const std::string task(name);
  check_options(task, options);
  std::vector<Task> tasks;
  tasks.reserve(options.lengths.size());
  for (const int64_t length : options.lengths) tasks.push_back(make_task(task, length, options));
  return tasks;
}

}  // namespace hypenet
