// Cuts texts by a pattern, for tools/compare_patterns.py: a JSON object a line in, one out.
#include <deque>
#include <iostream>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/pre_tokenizer.h"

namespace hypenet {
namespace {

SplitBehavior behavior_named(const std::string& name) {
  if (name == "removed") return SplitBehavior::kRemoved;
  if (name == "merged_with_previous") return SplitBehavior::kMergedWithPrevious;
  if (name == "merged_with_next") return SplitBehavior::kMergedWithNext;
  return name == "contiguous" ? SplitBehavior::kContiguous : SplitBehavior::kIsolated;
}

Json answer(const Json& question) {
  SplitRule rule;
  rule.place = "pattern";
  rule.pattern = question.at("pattern").get<std::string>();
  rule.behavior = behavior_named(question.at("behavior").get<std::string>());
  const PreTokenizer splitter(rule);
  Json pieces = Json::array();
  for (const Json& text : question.at("texts")) {
    std::deque<std::string> storage;
    const std::string whole = text.get<std::string>();
    Json row = Json::array();
    for (const std::string_view piece : splitter.split({whole}, storage)) row.push_back(piece);
    pieces.push_back(std::move(row));
  }
  return {{"pieces", std::move(pieces)}};
}

}  // namespace
}  // namespace hypenet

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    hypenet::Json result;
    try {
      result = hypenet::answer(hypenet::parse_json(line, "line"));
    } catch (const hypenet::Error& error) {
      result = {{"error", error.what()}};
    }
    std::cout << result.dump() << std::endl;
  }
}
