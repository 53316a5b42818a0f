// Log-likelihoods go first, in chunks of batches; then generations, in batches that fit the memory.
// A key of the journal is the request's and the variant's number.
#include "halo/variant_evaluator.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "eval/encode.h"
#include "halo/variant_answers.h"

namespace hypenet {
namespace {

/// A request that differs from all others, and what is known of its answers.
struct Work {
  const EvalRequest* request = nullptr;
  EncodedRequest encoded = {};
  std::string key = {};
  std::vector<EvalAnswer> answers = {};  // [variant]
  std::vector<bool> is_known = {};       // [variant]
  std::vector<size_t> parts_left = {};   // [variant]

  bool is_done() const {
    return std::find(is_known.begin(), is_known.end(), false) == is_known.end();
  }
};

std::string journal_key(const std::string& key, size_t variant) {
  return concat(key, ".", variant);
}

/// The work of one call of VariantEvaluator::answer.
class Agenda {
 public:
  Agenda(LayerVariants& variants, const Tokenizer& tokenizer,
         const VariantEvaluatorOptions& options, Journal* journal,
         const std::function<void(int64_t, int64_t)>& report)
      : variants_(variants),
        tokenizer_(tokenizer),
        options_(options),
        journal_(journal),
        report_(report) {}

  size_t size() const { return works_.size(); }
  const Work& work(size_t number) const { return works_[number]; }

  void add(const EvalRequest& request, EncodedRequest encoded, const std::string& key);
  void score();
  void generate();

 private:
  size_t variants() const { return static_cast<size_t>(variants_.count()); }
  void report() const {
    if (report_) report_(done_, static_cast<int64_t>(works_.size() * variants()));
  }
  void take(Work& work, size_t variant, EvalAnswer answer);
  void take_row(Work& work, size_t variant, const std::vector<TokenScore>& scores);
  void generate_batch(VariantGenerator& generator, std::span<const AnswerPrompt> prompts,
                      std::span<Work* const> batch);
  bool is_stop(int32_t id) const {
    return std::binary_search(options_.stop_ids.begin(), options_.stop_ids.end(), id);
  }
  bool ends(const Work& work, std::span<const int32_t> answer) const;
  std::string text_of(const Work& work, std::vector<int32_t> answer) const;

  LayerVariants& variants_;
  const Tokenizer& tokenizer_;
  const VariantEvaluatorOptions& options_;
  Journal* journal_;
  const std::function<void(int64_t, int64_t)>& report_;
  std::vector<Work> works_;
  int64_t done_ = 0;
};

void Agenda::add(const EvalRequest& request, EncodedRequest encoded, const std::string& key) {
  Work work{.request = &request, .encoded = std::move(encoded), .key = key};
  work.answers.resize(variants());
  work.is_known.assign(variants(), false);
  for (size_t variant = 0; journal_ && variant < variants(); ++variant) {
    const EvalAnswer* known = journal_->find(journal_key(key, variant));
    if (!known) continue;
    work.answers[variant] = *known;
    work.is_known[variant] = true;
    ++done_;
  }
  works_.push_back(std::move(work));
}

void Agenda::take(Work& work, size_t variant, EvalAnswer answer) {
  if (work.is_known[variant]) return;
  if (journal_) journal_->add(journal_key(work.key, variant), answer);
  work.answers[variant] = std::move(answer);
  work.is_known[variant] = true;
  ++done_;
}

void Agenda::score() {
  std::vector<ScoredRow> rows;
  std::vector<Work*> places;  // of each row
  for (Work& work : works_) {
    if (work.is_done()) continue;
    work.parts_left.assign(variants(), work.encoded.parts.size());
    for (const ScoredRow& part : work.encoded.parts) {
      rows.push_back(part);
      places.push_back(&work);
    }
  }
  report();
  score_variants(variants_.teacher(), rows, variants_.hidden(),
                 {.batch_tokens = options_.batch_tokens,
                  .on_row = [&](size_t variant, size_t row,
                                const auto& scores) { take_row(*places[row], variant, scores); },
                  .report = [&](int64_t, int64_t) { report(); }});
}

void Agenda::take_row(Work& work, size_t variant, const std::vector<TokenScore>& scores) {
  if (work.is_known[variant]) return;
  const size_t parts = work.encoded.parts.size();
  EvalAnswer& answer = work.answers[variant];
  if (work.parts_left[variant] == parts) answer = {.is_greedy = true};
  double sum = 0;  // as eval/evaluator.cpp sums a row
  for (const TokenScore& token : scores) {
    sum += token.logprob;
    answer.is_greedy &= token.greedy;
  }
  answer.loglikelihood += sum;
  HYPENET_CHECK(std::isfinite(sum), "sweep: log-likelihood of ",
                name_of_variant(static_cast<int64_t>(variant)),
                ": expected a finite number, found nan or infinity");
  if (--work.parts_left[variant] == 0) take(work, variant, EvalAnswer(answer));
}

void Agenda::generate() {
  std::vector<Work*> left;
  for (Work& work : works_) {
    if (work.encoded.parts.empty() && !work.is_done()) left.push_back(&work);
  }
  if (left.empty()) return;
  std::stable_sort(left.begin(), left.end(), [](const Work* a, const Work* b) {
    return a->encoded.prompt.size() > b->encoded.prompt.size();
  });
  std::vector<AnswerPrompt> prompts;
  prompts.reserve(left.size());
  for (const Work* work : left)
    prompts.push_back({work->encoded.prompt, work->request->max_tokens});
  VariantGenerator generator(variants_, options_.memory_bytes);
  for (size_t begin = 0; begin < left.size();) {
    const size_t count = generator.fitting(std::span(prompts).subspan(begin));
    generate_batch(generator, std::span(prompts).subspan(begin, count),
                   std::span(left).subspan(begin, count));
    begin += count;
  }
}

void Agenda::generate_batch(VariantGenerator& generator, std::span<const AnswerPrompt> prompts,
                            std::span<Work* const> batch) {
  std::vector<bool> is_wanted(variants(), false);
  for (const Work* work : batch) {
    for (size_t variant = 0; variant < variants(); ++variant) {
      if (!work->is_known[variant]) is_wanted[variant] = true;
    }
  }
  report();
  generator.generate(
      prompts, is_wanted,
      [&](size_t place, std::span<const int32_t> answer) { return ends(*batch[place], answer); },
      [&](int64_t variant, std::vector<std::vector<int32_t>> answers) {
        for (size_t place = 0; place < batch.size(); ++place) {
          take(*batch[place], static_cast<size_t>(variant),
               {.text = text_of(*batch[place], std::move(answers[place]))});
        }
        report();
      });
}

bool Agenda::ends(const Work& work, std::span<const int32_t> answer) const {
  if (is_stop(answer.back())) return true;
  const std::string text = tokenizer_.decode(answer);
  const auto& until = work.request->until;
  return std::any_of(until.begin(), until.end(), [&](const std::string& stop) {
    return !stop.empty() && text.find(stop) != std::string::npos;
  });
}

std::string Agenda::text_of(const Work& work, std::vector<int32_t> answer) const {
  if (is_stop(answer.back())) answer.pop_back();
  std::vector<std::string> until = work.request->until;
  if (tokenizer_.eos_id()) until.emplace_back(tokenizer_.token_bytes(*tokenizer_.eos_id()));
  return cut_answer(tokenizer_.decode(answer, true), until);
}

}  // namespace

VariantEvaluator::VariantEvaluator(LayerVariants& variants, const Tokenizer& tokenizer,
                                   VariantEvaluatorOptions options)
    : variants_(variants), tokenizer_(tokenizer), options_(std::move(options)) {
  auto& stops = options_.stop_ids;
  if (tokenizer.eos_id()) stops.push_back(*tokenizer.eos_id());
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  if (options_.journal.empty()) return;
  journal_ = std::make_unique<Journal>(options_.journal, options_.identity);
}

std::vector<std::vector<EvalAnswer>> VariantEvaluator::answer(
    std::span<const EvalRequest> requests, const std::function<void(int64_t, int64_t)>& report) {
  const int64_t max_length = variants_.teacher()->config().max_position_embeddings;
  Agenda agenda(variants_, tokenizer_, options_, journal_.get(), report);
  std::unordered_map<std::string, size_t> works;
  std::vector<size_t> places;  // of each request: its work
  places.reserve(requests.size());
  int64_t cut = 0;
  for (const EvalRequest& request : requests) {
    EncodedRequest encoded = encode_request(tokenizer_, request, max_length);
    const std::string key = request_key(request, encoded, options_.stop_ids);
    const auto [found, is_added] = works.emplace(key, agenda.size());
    cut += encoded.is_cut;
    if (is_added) agenda.add(request, std::move(encoded), key);
    places.push_back(found->second);
  }
  if (cut > 0 && options_.on_cut) options_.on_cut(cut);
  agenda.score();
  agenda.generate();
  std::vector<std::vector<EvalAnswer>> answers(static_cast<size_t>(variants_.count()));
  for (size_t variant = 0; variant < answers.size(); ++variant) {
    answers[variant].reserve(places.size());
    for (const size_t place : places) {
      answers[variant].push_back(agenda.work(place).answers[variant]);
    }
  }
  return answers;
}

}  // namespace hypenet
