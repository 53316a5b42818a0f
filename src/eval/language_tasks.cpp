// LAMBADA's passages without their last word, and WikiText's pages as a whole.
#include "eval/language_tasks.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "eval/data_files.h"
#include "eval/few_shot.h"
#include "eval/python/python_text.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

DataFiles lambada_files(std::string_view name) {
  if (name == "lambada_standard") {
    return {.dataset = "cimec/lambada", .hub = hub_paths("plain_text", "test")};
  }
  DataFiles files{.dataset = "EleutherAI/lambada_openai",
                  .hub = {"data/lambada_test.jsonl", "lambada_test.jsonl"}};
  std::ranges::move(hub_paths({}, "test"), std::back_inserter(files.hub));
  files.others = {"lambada/lambada_test.jsonl", "lambada_test.jsonl"};
  return files;
}

/// The harness draws lambada_standard's examples from the validation split; lambada_openai has its
/// test split alone.
DataFiles lambada_example_files(std::string_view name) {
  if (name != "lambada_standard") return lambada_files(name);
  return {.dataset = "cimec/lambada", .hub = hub_paths("plain_text", "validation")};
}

struct Passage {
  std::string context, target;
};

/// The target is what follows the last space, with one before it; without a space the whole text.
Passage split_last_word(const std::string& text) {
  const size_t space = text.rfind(' ');
  if (space == text.npos) return {.context = {}, .target = " " + text};
  return {.context = text.substr(0, space), .target = text.substr(space)};
}

std::vector<Passage> read_passages(const std::vector<fs::path>& files, int64_t limit) {
  std::vector<Passage> passages;
  for_each_record(files, limit, [&](const Json& record) {
    passages.push_back(split_last_word(text_field(record, "text")));
  });
  return passages;
}

/// The delimiter is a space of its own here too, as in the harness.
std::string example_text(const Passage& passage) {
  return concat(passage.context, " ", passage.target);
}

Task load_lambada(std::string_view name, const TaskOptions& options) {
  Task task{.name = std::string(name),
            .version = 1,
            .shots = options.shots.value_or(0),
            .scoring = &Scoring::kLastWord};
  std::vector<std::string> texts;
  if (task.shots > 0) {
    const std::string place = concat(name, " (examples)");
    const auto files = find_data(lambada_example_files(name), options.data, place);
    const std::vector<Passage> passages = read_passages(files, 0);
    texts.reserve(passages.size());
    for (const Passage& passage : passages) texts.push_back(example_text(passage));
  }
  FewShotExamples examples(std::move(texts), task.shots, ExampleDraw::kRandom, name);
  const auto passages =
      read_passages(find_data(lambada_files(name), options.data, name), options.limit);
  task.items.reserve(passages.size());
  for (const Passage& passage : passages) {
    TaskItem& item = task.items.emplace_back();
    item.id = std::to_string(task.items.size() - 1);
    item.requests = {{.context = examples.next(example_text(passage)) + passage.context,
                      .continuation = passage.target}};
  }
  return task;
}

/// White space at both inner ends of each pair goes; a pair ends at the first closing mark.
std::string trim_inside(std::string_view text, char open, char close) {
  std::string result;
  while (!text.empty()) {
    const size_t begin = text.find(open);
    const size_t end = begin == text.npos ? text.npos : text.find(close, begin + 1);
    if (end == text.npos) break;
    result.append(text.substr(0, begin + 1));
    result.append(strip(text.substr(begin + 1, end - begin - 1))).push_back(close);
    text.remove_prefix(end + 1);
  }
  return result.append(text);
}

bool is_title(std::string_view line) {
  const std::string marked = replace_all(replace_all(line, "= = =", "==="), "= =", "==");
  const std::string_view heading = strip(marked);
  return heading.starts_with("= ") && heading.ends_with(" =");
}

DataFiles wikitext_files() {
  return {
      .dataset = "EleutherAI/wikitext_document_level",
      .hub = configuration_paths("wikitext-2-raw-v1", "test"),
      .others = {"wikitext/wikitext-2-raw-v1/test-*.parquet", "wikitext-2-raw-v1/test-*.parquet",
                 "wikitext-2/wiki.test.raw", "wikitext-2-raw/wiki.test.raw", "wiki.test.raw"}};
}

/// A record holds a page (field page), or a line of the raw file (field text) whose blank lines are
/// empty.
std::vector<std::string> read_wikitext_records(const std::vector<fs::path>& files) {
  std::vector<std::string> pages;
  std::string lines;
  for_each_record(files, 0, [&](const Json& record) {
    if (record.contains("page")) {
      pages.push_back(text_field(record, "page"));
      return;
    }
    const std::string& line = text_field(record, "text");
    lines += line.empty() ? " \n" : line;
  });
  return lines.empty() ? pages : split_wikitext_pages(lines);
}

Task load_wikitext(const TaskOptions& options) {
  const std::vector<fs::path> files = find_data(wikitext_files(), options.data, "wikitext");
  std::vector<std::string> pages = files.front().extension() == ".raw"
                                       ? split_wikitext_pages(read_file(files.front()))
                                       : read_wikitext_records(files);
  if (options.limit > 0 && static_cast<int64_t>(pages.size()) > options.limit) {
    pages.resize(static_cast<size_t>(options.limit));
  }
  Task task{.name = "wikitext", .version = 2, .scoring = &Scoring::kTextPerplexity};
  task.items.reserve(pages.size());
  for (const std::string& page : pages) {
    TaskItem& item = task.items.emplace_back();
    item.id = std::to_string(task.items.size() - 1);
    item.requests = {{.kind = RequestKind::kRolling, .context = undo_wikitext_tokens(page)}};
    item.words = count_words(page);
    item.bytes = static_cast<int64_t>(page.size());
  }
  return task;
}

}  // namespace

std::string undo_wikitext_tokens(std::string_view page) {
  using Pair = std::pair<const char*, const char*>;
  constexpr std::array<Pair, 10> kPunctuation = {{{"s '", "s'"},
                                                  {" @-@ ", "-"},
                                                  {" @,@ ", ","},
                                                  {" @.@ ", "."},
                                                  {" : ", ": "},
                                                  {" ; ", "; "},
                                                  {" . ", ". "},
                                                  {" ! ", "! "},
                                                  {" ? ", "? "},
                                                  {" , ", ", "}}};
  constexpr std::array<Pair, 8> kRest = {{{"= = = =", "===="},
                                          {"= = =", "==="},
                                          {"= =", "=="},
                                          {" ° ", "°"},
                                          {" \n", "\n"},
                                          {"\n ", "\n"},
                                          {" N ", " 1 "},
                                          {" 's", "'s"}}};
  std::string text(page);
  for (const auto& [from, to] : kPunctuation) text = replace_all(text, from, to);
  for (const std::string_view pair : {"()", "[]", "{}", "\"\"", "''"}) {
    text = trim_inside(text, pair[0], pair[1]);
  }
  for (const auto& [from, to] : kRest) text = replace_all(text, from, to);
  return text;
}

std::vector<std::string> split_wikitext_pages(std::string_view text) {
  std::vector<std::string> pages;
  std::string page;
  const auto end_page = [&] {
    // Lines are joined by line feeds: the one before the next heading belongs to neither page.
    if (!page.empty() && page.back() == '\n') page.pop_back();
    if (!strip(page).empty()) pages.push_back(std::move(page));
    page.clear();
  };
  while (!text.empty()) {
    const size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, size);
    if (is_title(line)) end_page();
    page.append(line);
    text.remove_prefix(size);
  }
  if (!strip(page).empty()) pages.push_back(std::move(page));
  return pages;
}

std::vector<TaskName> language_task_names() {
  return {{"lambada_openai", "LAMBADA: the last word of a passage, OpenAI's texts"},
          {"lambada_standard", "LAMBADA: the same, the authors' tokenised texts"},
          {"wikitext", "WikiText-2: perplexity of 62 articles"}};
}

Task load_language_task(std::string_view name, const TaskOptions& options) {
  Task task = name == "wikitext" ? load_wikitext(options) : load_lambada(name, options);
  HYPENET_CHECK(!task.items.empty(), name, ": expected documents in its data files, found none");
  return task;
}

}  // namespace hypenet
