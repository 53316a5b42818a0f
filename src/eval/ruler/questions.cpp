// RULER, question answering: a question, the document that answers it, and others around it.
#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "eval/python/python_random.h"
#include "eval/ruler/data.h"
#include "eval/ruler/subjects.h"

namespace hypenet {
namespace {

constexpr int64_t kAnswerTokens = 32;

class QuestionDraw {
 public:
  QuestionDraw(bool is_squad, const TaskOptions& options, const std::string& name)
      : options_(options),
        random_(options.seed),
        set_(is_squad ? read_squad(options.data, name) : read_hotpot(options.data, name)) {
    HYPENET_CHECK(!set_.questions.empty(), name, ": expected questions with answers, found none");
  }

  int64_t question_count() const { return std::ssize(set_.questions); }
  int64_t document_count() const { return std::ssize(set_.documents); }

  std::optional<RulerSample> draw(int64_t index, int64_t size) {
    const DocumentQuestion& asked = set_.questions[static_cast<size_t>(index)];
    std::optional<std::vector<int64_t>> documents = choose(asked, size);
    if (!documents) return std::nullopt;
    PythonRandom(options_.seed).shuffle(*documents);
    const std::string task =
        "Answer the question based on the given documents. Only give me the answer and do not "
        "output any other words.\n\n";
    RulerSample sample;
    sample.body = task + "The following are given documents.\n\n";
    for (size_t i = 0; i < documents->size(); ++i) {
      sample.body += concat("Document ", i + 1, ":\n",
                            set_.documents[static_cast<size_t>((*documents)[i])], "\n\n");
    }
    sample.body += concat(task, "Question: ", asked.question);
    sample.prefix = " Answer:";
    sample.references = asked.answers;
    return sample;
  }

 private:
  /// The documents that answer, then those of the same article, then any, as many as the size says.
  std::optional<std::vector<int64_t>> choose(const DocumentQuestion& asked, int64_t size) {
    std::vector<int64_t> chosen;
    if (size >= document_count()) {
      // Without repeating them the harness has no more than all.
      const int64_t count = options_.ruler_as_harness ? document_count() : size;
      for (int64_t i = 0; i < count; ++i) chosen.push_back(i % document_count());
      return chosen;
    }
    chosen = asked.documents;
    const int64_t room = size - std::ssize(chosen);
    if (room > std::ssize(asked.related)) {
      chosen.insert(chosen.end(), asked.related.begin(), asked.related.end());
      const std::vector<int64_t> others = all_but(chosen);
      for (const int64_t place : random_.sample(std::ssize(others), size - std::ssize(chosen))) {
        chosen.push_back(others[static_cast<size_t>(place)]);
      }
      return chosen;
    }
    if (room < 0) return std::nullopt;
    for (const int64_t place : random_.sample(std::ssize(asked.related), room)) {
      chosen.push_back(asked.related[static_cast<size_t>(place)]);
    }
    return chosen;
  }

  std::vector<int64_t> all_but(std::vector<int64_t> chosen) const {
    std::ranges::sort(chosen);
    std::vector<int64_t> others;
    for (int64_t i = 0; i < document_count(); ++i) {
      if (!std::ranges::binary_search(chosen, i)) others.push_back(i);
    }
    return others;
  }

  const TaskOptions& options_;
  PythonRandom random_;
  const QuestionSet set_;
};

}  // namespace

RulerSubject question_subject(bool is_squad, const TaskOptions& options, const std::string& name) {
  const auto draw = std::make_shared<QuestionDraw>(is_squad, options, name);
  RulerSubject subject;
  subject.answer_tokens = kAnswerTokens;
  subject.step = 10;
  subject.samples = draw->question_count();
  subject.draw = [draw](int64_t index, int64_t size) { return draw->draw(index, size); };
  if (!options.ruler_as_harness) return subject;
  subject.most = draw->document_count();
  subject.tokens_in_search = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.body + " " + python_list(sample.references));
  };
  subject.tokens_of_sample = [&options](const RulerSample& sample) {
    return count_tokens(*options.tokenizer, sample.body);
  };
  return subject;
}

}  // namespace hypenet
