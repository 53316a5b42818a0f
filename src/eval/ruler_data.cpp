// Files as their authors publish them, and as the Hugging Face hub has them.
#include "eval/ruler_data.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "data/records.h"
#include "eval/data_files.h"
#include "text/unicode.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// The first of `paths` that lies in one of `folders`, in the order of folders. Throws Error of one
/// line.
fs::path find_path(const std::vector<fs::path>& folders, std::span<const std::string> paths,
                   const std::string& task, const std::string& source) {
  std::string searched, expected;
  for (const fs::path& folder : folders) {
    for (const std::string& path : paths) {
      if (fs::exists(folder / path)) return folder / path;
    }
    searched += concat(searched.empty() ? "" : ", ", folder.string());
  }
  for (const std::string& path : paths) expected += concat(expected.empty() ? "" : " or ", path);
  if (searched.empty()) searched = "no folder (--data-dir names none)";
  throw Error(concat(task, ": expected ", expected, ", found none in ", searched,
                     "; it can be had from ", source));
}

/// Python's \s: the property White_Space and four control characters.
bool is_space(char32_t code) { return is_white_space(code) || (code >= 0x1C && code <= 0x1F); }

/// re.sub(r"\s+", " ", text)
std::string with_single_spaces(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  bool is_after_space = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    const bool is_here = is_space(step.code);
    if (!is_here) result += text.substr(at, step.size);
    if (is_here && !is_after_space) result += ' ';
    is_after_space = is_here;
    at += step.size;
  }
  return result;
}

std::string read_essays(const std::vector<fs::path>& data, const std::string& task) {
  const DataFiles files = {
      .dataset = "baber/paul_graham_essays",
      .hub = hub_paths("", "train"),
      .others = {"ruler/PaulGrahamEssays.json", "PaulGrahamEssays.json",
                 "needle/paul_graham_essays.jsonl", "paul_graham_essays.jsonl"}};
  std::string text;
  for (const fs::path& file : find_data(files, data, task)) {
    if (file.filename() == "PaulGrahamEssays.json") return text_field(read_json(file), "text");
    for_each_record(file, [&](const Json& record) {
      text += concat(text.empty() ? "" : " ", text_field(record, "text"));
      return true;
    });
  }
  return text;
}

PunktParameters read_punkt(const std::vector<fs::path>& data, const std::string& task) {
  const std::vector<std::string> folders = {"nltk/punkt_tab/english", "punkt_tab/english",
                                            "tokenizers/punkt_tab/english"};
  return PunktParameters::load(
      find_path(data, folders, task,
                "https://github.com/nltk/nltk_data (packages/tokenizers/punkt_tab.zip, unpacked)"));
}

/// Documents are numbered as they come, and sorted when all are known.
class QuestionCollector {
 public:
  int64_t add_document(const std::string& text) {
    return numbers_.emplace(text, std::ssize(numbers_)).first->second;
  }
  void add_question(DocumentQuestion question) { questions_.push_back(std::move(question)); }

  QuestionSet finish() {
    QuestionSet set;
    std::vector<int64_t> places(numbers_.size());
    for (const auto& [text, number] : numbers_) {
      places[static_cast<size_t>(number)] = std::ssize(set.documents);
      set.documents.push_back(text);
    }
    for (DocumentQuestion& question : questions_) {
      for (int64_t& document : question.documents) document = places[static_cast<size_t>(document)];
      for (int64_t& document : question.related) document = places[static_cast<size_t>(document)];
    }
    set.questions = std::move(questions_);
    return set;
  }

 private:
  std::map<std::string, int64_t> numbers_;  // in order of bytes, which is that of code points
  std::vector<DocumentQuestion> questions_;
};

struct Paragraph {
  std::string text = {};
  std::vector<std::pair<std::string, std::vector<std::string>>> questions = {};
};

/// One article: its paragraphs, and their questions but those without an answer.
void add_article(const std::vector<Paragraph>& paragraphs, QuestionCollector& collector) {
  std::vector<int64_t> numbers;
  numbers.reserve(paragraphs.size());
  for (const Paragraph& paragraph : paragraphs) {
    numbers.push_back(collector.add_document(paragraph.text));
  }
  for (size_t i = 0; i < paragraphs.size(); ++i) {
    std::vector<int64_t> related = numbers;
    std::erase(related, numbers[i]);
    for (const auto& [question, answers] : paragraphs[i].questions) {
      collector.add_question({question, answers, {numbers[i]}, related});
    }
  }
}

void add_squad_articles(const Json& file, QuestionCollector& collector) {
  for (const Json& article : array_field(file, "data")) {
    std::vector<Paragraph> paragraphs;
    for (const Json& entry : array_field(article, "paragraphs")) {
      Paragraph& paragraph = paragraphs.emplace_back();
      paragraph.text = text_field(entry, "context");
      for (const Json& question : array_field(entry, "qas")) {
        if (question.value("is_impossible", false)) continue;
        auto& [text, answers] = paragraph.questions.emplace_back();
        text = text_field(question, "question");
        for (const Json& answer : array_field(question, "answers")) {
          answers.push_back(text_field(answer, "text"));
        }
      }
    }
    add_article(paragraphs, collector);
  }
}

/// SQuAD as the hub has it: a record a question, those of an article and of a paragraph together.
void add_squad_records(const std::vector<fs::path>& files, QuestionCollector& collector) {
  std::vector<Paragraph> paragraphs;
  std::string title;
  for_each_record(files, 0, [&](const Json& record) {
    if (text_field(record, "title") != title) {
      add_article(paragraphs, collector);
      paragraphs.clear();
      title = text_field(record, "title");
    }
    const std::string& context = text_field(record, "context");
    if (paragraphs.empty() || paragraphs.back().text != context) paragraphs.push_back({context});
    std::vector<std::string> answers = texts_field(record.at("answers"), "text");
    if (answers.empty()) return;
    paragraphs.back().questions.emplace_back(text_field(record, "question"), std::move(answers));
  });
  add_article(paragraphs, collector);
}

/// One record of HotpotQA. `context` is a list of [title, sentences], on the hub two lists.
void add_hotpot_question(const Json& record, QuestionCollector& collector) {
  const Json& context = record.at("context");
  DocumentQuestion question = {text_field(record, "question"), {text_field(record, "answer")}};
  const auto add = [&](const Json& title, const Json& sentences) {
    std::string text = title.get<std::string>() + "\n";
    for (const Json& sentence : sentences) text += sentence.get<std::string>();
    question.documents.push_back(collector.add_document(text));
  };
  if (context.is_object()) {
    const Json &titles = array_field(context, "title"), &texts = array_field(context, "sentences");
    for (size_t i = 0; i < titles.size(); ++i) add(titles[i], texts.at(i));
  } else {
    for (const Json& entry : array_field(record, "context")) add(entry.at(0), entry.at(1));
  }
  collector.add_question(std::move(question));
}

}  // namespace

Essays::Essays(const std::vector<fs::path>& data, const std::string& task)
    : text_(with_single_spaces(read_essays(data, task))), splitter_(read_punkt(data, task)) {
  for (size_t end = text_.find(' '); end != text_.npos; end = text_.find(' ', end + 1)) {
    ends_.push_back(end);
  }
  ends_.push_back(text_.size());
}

std::vector<std::string> Essays::sentences(int64_t words) const {
  std::string text;
  for (; words >= size(); words -= size()) {
    text += text_;
    if (words > size()) text += ' ';
  }
  if (words > 0) text += text_.substr(0, ends_[static_cast<size_t>(words - 1)]);
  const size_t first = text.find_first_not_of(' ');
  if (first == text.npos) return {};
  const size_t last = text.find_last_not_of(' ');
  std::vector<std::string> sentences;
  for (const std::string_view sentence :
       splitter_.split(std::string_view(text).substr(first, last + 1 - first))) {
    sentences.emplace_back(sentence);
  }
  return sentences;
}

QuestionSet read_squad(const std::vector<fs::path>& data, const std::string& task) {
  const DataFiles files = {.dataset = "rajpurkar/squad_v2",
                           .hub = hub_paths("squad_v2", "validation"),
                           .others = {"squad/dev-v2.0.json", "dev-v2.0.json", "ruler/squad.json",
                                      "squad.json", "squad/dev-v1.1.json", "squad/xquad.en.json"}};
  const std::vector<fs::path> found = find_data(files, data, task);
  QuestionCollector collector;
  if (found.front().extension() == ".json") {
    add_squad_articles(read_json(found.front()), collector);
  } else {
    add_squad_records(found, collector);
  }
  return collector.finish();
}

QuestionSet read_hotpot(const std::vector<fs::path>& data, const std::string& task) {
  const DataFiles files = {
      .dataset = "hotpotqa/hotpot_qa",
      .hub = hub_paths("distractor", "validation"),
      .others = {"hotpot/hotpot_dev_distractor_v1.json", "hotpot_dev_distractor_v1.json",
                 "ruler/hotpotqa.json", "hotpotqa.json"}};
  QuestionCollector collector;
  for_each_record(find_data(files, data, task), 0,
                  [&](const Json& record) { add_hotpot_question(record, collector); });
  return collector.finish();
}

std::vector<std::string> read_english_words(const std::vector<fs::path>& data,
                                            const std::string& task) {
  const std::vector<std::string> paths = {"ruler/english_words.json", "english_words.json"};
  const Json file = read_json(find_path(
      data, paths, task,
      "https://github.com/NVIDIA/RULER (scripts/data/synthetic/json/english_words.json)"));
  std::vector<std::string> words;
  words.reserve(file.size());
  for (const Json& word : file) words.push_back(word.get<std::string>());
  return words;
}

}  // namespace hypenet
