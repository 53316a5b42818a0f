// The first item's kind is the file's.
#include "eval/own_tasks.h"

#include <algorithm>
#include <initializer_list>

#include "base/error.h"
#include "data/records.h"
#include "eval/choice_task.h"
#include "eval/data_files.h"

namespace hypenet {
namespace {

constexpr int64_t kMaxTokens = 48;
constexpr int64_t kMostMaxTokens = 1 << 20;  // no model reads more

bool has_choices(const Json& record) { return record.contains("choices"); }

void check_fields(const Json& record, std::initializer_list<const char*> known) {
  for (const auto& field : record.items()) {
    const bool is_known = std::ranges::find(known, field.key()) != known.end();
    HYPENET_CHECK(is_known, "unknown field ", field.key());
  }
}

TaskItem read_choices(const Json& record) {
  check_fields(record, {"id", "context", "choices", "answer", "target_delimiter"});
  ChoiceDocument document{.id = id_field(record, {"id"}),
                          .question = text_field(record, "context"),
                          .choices = texts_field(record, "choices"),
                          .delimiter = {},
                          .gold = integer_field(record, "answer")};
  if (record.contains("target_delimiter")) {
    document.delimiter = text_field(record, "target_delimiter");
  }
  const auto count = static_cast<int64_t>(document.choices.size());
  HYPENET_CHECK(count > 0, "choices: expected at least one, found none");
  HYPENET_CHECK(document.gold >= 0 && document.gold < count, "answer: expected 0 to ", count - 1,
                ", found ", document.gold);
  return choice_item(document);
}

TaskItem read_completion(const Json& record) {
  check_fields(record, {"id", "context", "answer", "answers", "until", "max_tokens"});
  HYPENET_CHECK(record.contains("answer") != record.contains("answers"),
                "expected one of the fields answer and answers, found ",
                record.contains("answer") ? "both" : "none");
  TaskItem item{.id = id_field(record, {"id"})};
  if (record.contains("answers")) {
    item.references = texts_field(record, "answers");
    HYPENET_CHECK(!item.references.empty(), "answers: expected at least one, found none");
  } else {
    item.references = {text_field(record, "answer")};
  }
  EvalRequest& request = item.requests.emplace_back();
  request.kind = RequestKind::kGenerate;
  request.context = text_field(record, "context");
  request.until = {"\n"};
  if (record.contains("until")) {
    request.until = record["until"].is_string() ? std::vector{text_field(record, "until")}
                                                : texts_field(record, "until");
  }
  request.max_tokens =
      record.contains("max_tokens") ? integer_field(record, "max_tokens") : kMaxTokens;
  HYPENET_CHECK(request.max_tokens > 0 && request.max_tokens <= kMostMaxTokens,
                "max_tokens: expected 1 to ", kMostMaxTokens, ", found ", request.max_tokens);
  return item;
}

}  // namespace

bool is_own_task(std::string_view name) {
  return name.ends_with(".jsonl") || name.ends_with(".jsonl.gz");
}

Task load_own_task(std::string_view path, const TaskOptions& options) {
  Task task{.name = std::string(path)};
  for_each_record(path, [&](const Json& record) {
    const Scoring* scoring = has_choices(record) ? &Scoring::kMultipleChoice : &Scoring::kContains;
    if (task.items.empty()) task.scoring = scoring;
    HYPENET_CHECK(scoring == task.scoring, "expected an item ",
                  has_choices(record) ? "without choices" : "with choices",
                  " as on the first line, found one ", has_choices(record) ? "with" : "without");
    TaskItem item = has_choices(record) ? read_choices(record) : read_completion(record);
    if (item.id.empty()) item.id = std::to_string(task.items.size());
    task.items.push_back(std::move(item));
    return static_cast<int64_t>(task.items.size()) != options.limit;
  });
  HYPENET_CHECK(!task.items.empty(), path, ": expected an item a line, found none");
  return task;
}

}  // namespace hypenet
