// Files as their authors publish them, and as the Hugging Face hub has them.
#include "eval/ruler/data.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/join.h"
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
  std::vector<std::string> searched;
  for (const fs::path& folder : folders) {
    for (const std::string& path : paths) {
      if (fs::exists(folder / path)) return folder / path;
    }
    searched.push_back(folder.string());
  }
  if (searched.empty()) searched = {"no folder (--data-dir names none)"};
  throw Error(concat(task, ": expected ", join(paths, " or "), ", found none in ",
                     join(searched, ", "), "; it can be had from ", source));
}

/// re.sub(r"\s+", " ", text)
std::string with_single_spaces(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  bool is_after_space = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    const bool is_here = is_python_space(step.code);
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
                 "needle/paul_graham_essays.jsonl", "paul_graham_essays.jsonl"},
      .has_script = true};
  std::string text;
  for (const fs::path& file : find_data(files, data, task)) {
    if (file.filename() == "PaulGrahamEssays.json") {
      use_json(file, [&](const Json& essays) { text = text_field(essays, "text"); });
      return text;
    }
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
                concat("https://github.com/nltk/nltk_data (packages/tokenizers/punkt_tab.zip, ",
                       "unpacked)", kDataScript)));
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
        if (question.contains("is_impossible") && question.at("is_impossible") == true) continue;
        std::vector<std::string> answers;
        for (const Json& answer : array_field(question, "answers")) {
          answers.push_back(text_field(answer, "text"));
        }
        if (answers.empty()) continue;
        paragraph.questions.emplace_back(text_field(question, "question"), std::move(answers));
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
    std::vector<std::string> answers = texts_field(object_field(record, "answers"), "text");
    if (answers.empty()) return;
    paragraphs.back().questions.emplace_back(text_field(record, "question"), std::move(answers));
  });
  add_article(paragraphs, collector);
}

std::string hotpot_document(const Json& title, const Json& sentences) {
  HYPENET_CHECK(title.is_string() && sentences.is_array(),
                "context: expected a title and an array of sentences, found ", json_kind(title),
                " and ", json_kind(sentences));
  std::string text = title.get<std::string>() + "\n";
  for (const Json& sentence : sentences) {
    HYPENET_CHECK(sentence.is_string(), "context: expected sentences, found ", json_kind(sentence));
    text += sentence.get_ref<const std::string&>();
  }
  return text;
}

/// One record of HotpotQA. `context` is a list of [title, sentences], on the hub two lists.
void add_hotpot_question(const Json& record, QuestionCollector& collector) {
  DocumentQuestion question = {text_field(record, "question"), {text_field(record, "answer")}};
  const auto add = [&](const Json& title, const Json& sentences) {
    question.documents.push_back(collector.add_document(hotpot_document(title, sentences)));
  };
  if (record.contains("context") && record.at("context").is_object()) {
    const Json& context = record.at("context");
    const Json &titles = array_field(context, "title"), &texts = array_field(context, "sentences");
    HYPENET_CHECK(titles.size() == texts.size(), "context: expected as many sentences as titles, ",
                  titles.size(), ", found ", texts.size());
    for (size_t i = 0; i < titles.size(); ++i) add(titles[i], texts[i]);
  } else {
    for (const Json& entry : array_field(record, "context")) {
      HYPENET_CHECK(entry.is_array() && entry.size() == 2,
                    "context: expected pairs of a title and its sentences, found ",
                    json_kind(entry), " of ", entry.size());
      add(entry[0], entry[1]);
    }
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
    use_json(found.front(), [&](const Json& file) { add_squad_articles(file, collector); });
  } else {
    add_squad_records(found, collector);
  }
  return collector.finish();
}

QuestionSet read_hotpot(const std::vector<fs::path>& data, const std::string& task) {
  const DataFiles files = {
      .dataset = "hotpotqa/hotpot_qa",
      .hub = configuration_paths("distractor", "validation"),
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
  const fs::path path =
      find_path(data, paths, task,
                "https://github.com/NVIDIA/RULER (scripts/data/synthetic/json/english_words.json)");
  std::vector<std::string> words;
  use_json(path, [&](const Json& file) {
    words.reserve(file.size());
    for (const Json& word : file) {
      HYPENET_CHECK(word.is_string(), "expected words, found ", json_kind(word));
      words.push_back(word.get<std::string>());
    }
  });
  return words;
}

}  // namespace hypenet
