// Documents with choices into requests, as lm-evaluation-harness 0.4.9.1 makes them.
#include "eval/choice_task.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "data/records.h"
#include "eval/python/python_text.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// The labels of PIQA's own archive, which lie beside the records: valid.jsonl, valid-labels.lst.
std::vector<std::string> labels_beside(const fs::path& file) {
  const fs::path path = file.parent_path() / concat(file.stem().string(), "-labels.lst");
  std::vector<std::string> labels;
  if (!fs::exists(path)) return labels;
  const std::string lines = read_file(path);
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    labels.emplace_back(strip(std::string_view(lines).substr(begin, end - begin)));
    begin = end + 1;
  }
  return labels;
}

Json with_label(Json record, const std::vector<std::string>& labels, size_t place) {
  HYPENET_CHECK(place < labels.size(), "expected a label for each record beside the file, found ",
                labels.size(), " labels");
  record["label"] = labels[place];
  return record;
}

ChoiceDocument read_document(const ChoiceTask& definition, const Json& record) {
  ChoiceDocument document = definition.read(record);
  const auto count = static_cast<int64_t>(document.choices.size());
  HYPENET_CHECK(document.gold >= 0 && document.gold < count, "expected the right one of ", count,
                " choices, found number ", document.gold);
  return document;
}

/// At most `limit` of them, 0: all.
std::vector<ChoiceDocument> read_documents(const ChoiceTask& definition,
                                           const std::vector<fs::path>& files, int64_t limit) {
  std::vector<ChoiceDocument> documents;
  const auto is_wanted = [&] {
    return limit == 0 || static_cast<int64_t>(documents.size()) < limit;
  };
  for (const fs::path& file : files) {
    const std::vector<std::string> labels = labels_beside(file);
    size_t place = 0;
    if (!is_wanted()) break;
    for_each_record(file, [&](const Json& record) {
      const bool is_whole = labels.empty() || record.contains("label");
      documents.push_back(
          read_document(definition, is_whole ? record : with_label(record, labels, place)));
      ++place;
      return is_wanted();
    });
  }
  return documents;
}

/// The document with its answer, as it stands before another.
std::string example_text(const ChoiceDocument& document) {
  const std::string& answer = document.choices[static_cast<size_t>(document.gold)];
  if (document.ending.empty()) return concat(document.question, " ", answer);
  return concat(answer, " ", document.ending);
}

std::vector<std::string> read_examples(const ChoiceTask& definition, const TaskOptions& options) {
  const std::vector<fs::path> files =
      find_data(definition.examples, options.data, concat(definition.name.name, " (examples)"));
  const std::vector<ChoiceDocument> documents = read_documents(definition, files, 0);
  std::vector<std::string> texts;
  texts.reserve(documents.size());
  for (const ChoiceDocument& document : documents) texts.push_back(example_text(document));
  return texts;
}

}  // namespace

TaskItem choice_item(const ChoiceDocument& document, const std::string& context_before) {
  TaskItem item{.id = document.id, .gold = document.gold};
  for (const std::string& choice : document.choices) {
    EvalRequest& request = item.requests.emplace_back();
    const bool is_context = !document.ending.empty();
    request.context = context_before + (is_context ? choice : document.question);
    request.continuation = document.delimiter + (is_context ? document.ending : choice);
    item.lengths.push_back(code_points(choice));
  }
  return item;
}

Task load_choice_task(const ChoiceTask& definition, const TaskOptions& options) {
  const std::string& name = definition.name.name;
  const std::vector<fs::path> files = find_data(definition.test, options.data, name);
  Task task{.name = name,
            .version = 1,
            .shots = options.shots.value_or(definition.shots),
            .scoring = definition.scoring};
  std::vector<std::string> texts;
  if (task.shots > 0) texts = read_examples(definition, options);
  FewShotExamples examples(std::move(texts), task.shots, definition.draw, name);
  std::vector<ChoiceDocument> documents = read_documents(definition, files, options.limit);
  task.items.reserve(documents.size());
  for (ChoiceDocument& document : documents) {
    if (document.id.empty()) document.id = std::to_string(task.items.size());
    task.items.push_back(
        choice_item(document, definition.description + examples.next(example_text(document))));
  }
  HYPENET_CHECK(!task.items.empty(), name, ": expected documents in ", files.front().string(),
                ", found none");
  return task;
}

}  // namespace hypenet
