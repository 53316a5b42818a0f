// Equal requests are one; likelihoods are scored before anything is generated, because the engine
// takes its memory with the first prompt.
#include "eval/evaluator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "eval/generation.h"

namespace hypenet {
namespace {

using OnProgress = std::function<void(const EvaluationProgress&)>;

/// The nearest bfloat16, ties to even.
float round_to_bf16(float value) {
  if (!std::isfinite(value)) return value;
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000U);
}

/// A row's log-likelihood: a plain sum, or each term and the sum rounded as torch does in bfloat16
/// (whose sums run in float32).
double sum_of(const std::vector<TokenScore>& scores, bool in_bf16) {
  double sum = 0;
  for (const TokenScore& token : scores) {
    sum += in_bf16 ? round_to_bf16(token.logprob) : token.logprob;
  }
  return in_bf16 ? round_to_bf16(static_cast<float>(sum)) : sum;
}

/// A request that has to be run, and its answer once that is known.
struct Work {
  const EvalRequest* request = nullptr;
  EncodedRequest encoded = {};
  std::string key = {};
  std::vector<double> sums = {};  // of the parts, added up in their order
  size_t parts_left = 0;
  int64_t tokens = 0, tokens_left = 0;  // as progress counts them
  EvalAnswer answer = {};
};

int64_t tokens_of(const EvalRequest& request, const EncodedRequest& encoded) {
  int64_t tokens = static_cast<int64_t>(encoded.prompt.size()) + request.max_tokens;
  for (const ScoredRow& row : encoded.parts) tokens += static_cast<int64_t>(row.ids.size());
  return tokens;
}

/// The work of one call of Evaluator::answer.
class Agenda {
 public:
  Agenda(Journal* journal, const OnProgress& report) : journal_(journal), report_(report) {}

  /// Takes a request whose key is new, unless the journal knows its answer.
  void add(const EvalRequest& request, EncodedRequest encoded, const std::string& key) {
    Work work{.request = &request, .encoded = std::move(encoded), .key = key};
    work.tokens = work.tokens_left = tokens_of(request, work.encoded);
    work.parts_left = work.encoded.parts.size();
    work.sums.resize(work.parts_left);
    work.answer.is_greedy = work.parts_left > 0;
    const EvalAnswer* known = journal_ ? journal_->find(key) : nullptr;
    ++progress_.total;
    progress_.cut += work.encoded.is_cut;
    if (known) {
      work.answer = *known;
      ++progress_.done;
      work.encoded = {};
    } else {
      progress_.tokens_total += work.tokens;
      (work.parts_left > 0 ? scored_ : generated_).push_back(works_.size());
    }
    works_.push_back(std::move(work));
  }

  void score(Engine& engine, const EvaluatorOptions& options);
  void generate(Engine& engine, const Tokenizer& tokenizer, const std::vector<int32_t>& stop_ids);
  void report() const {
    if (report_) report_(progress_);
  }

  size_t size() const { return works_.size(); }
  const EvalAnswer& answer(size_t work) const { return works_[work].answer; }

 private:
  void take_row(size_t number, size_t part, const std::vector<TokenScore>& scores, bool in_bf16);
  void finish(const Work& work);

  Journal* journal_;
  const OnProgress& report_;
  std::vector<Work> works_;
  std::vector<size_t> scored_, generated_;  // places in works_ that have to be run
  EvaluationProgress progress_;
};

void Agenda::finish(const Work& work) {
  if (journal_) journal_->add(work.key, work.answer);
  ++progress_.done;
  progress_.tokens_done += work.tokens_left;
}

void Agenda::take_row(size_t number, size_t part, const std::vector<TokenScore>& scores,
                      bool in_bf16) {
  Work& work = works_[number];
  work.sums[part] = sum_of(scores, in_bf16);
  const auto tokens = work.tokens / static_cast<int64_t>(work.sums.size());
  work.tokens_left -= tokens;
  progress_.tokens_done += tokens;
  HYPENET_CHECK(std::isfinite(work.sums[part]),
                "eval: log-likelihood of a request: expected a finite number, found nan or "
                "infinity: the model's weights or arithmetic overflow");
  work.answer.is_greedy &= std::all_of(scores.begin(), scores.end(),
                                       [](const TokenScore& token) { return token.greedy; });
  if (--work.parts_left > 0) return;
  work.answer.loglikelihood = std::accumulate(work.sums.begin(), work.sums.end(), 0.0);
  finish(work);
}

void Agenda::score(Engine& engine, const EvaluatorOptions& options) {
  std::vector<ScoredRow> rows;
  std::vector<std::pair<size_t, size_t>> places;  // of each row: the work and the part
  for (const size_t number : scored_) {
    auto& parts = works_[number].encoded.parts;
    for (size_t part = 0; part < parts.size(); ++part) {
      rows.push_back(std::move(parts[part]));
      places.emplace_back(number, part);
    }
  }
  const auto on_row = [&](size_t row, const std::vector<TokenScore>& scores) {
    take_row(places[row].first, places[row].second, scores, options.sums_in_bf16);
    report();
  };
  engine.score(rows, {.batch_tokens = options.batch_tokens, .on_row = on_row});
}

void Agenda::generate(Engine& engine, const Tokenizer& tokenizer,
                      const std::vector<int32_t>& stop_ids) {
  std::vector<Prompt> prompts;
  prompts.reserve(generated_.size());
  for (const size_t number : generated_) {
    Work& work = works_[number];
    prompts.push_back(
        {std::move(work.encoded.prompt), work.request->until, work.request->max_tokens});
  }
  Generation generation(engine, tokenizer, stop_ids);
  const auto on_answer = [&](size_t place, const std::vector<int32_t>& ids) {
    Work& work = works_[generated_[place]];
    std::vector<std::string> until = work.request->until;
    if (tokenizer.eos_id()) until.emplace_back(tokenizer.token_bytes(*tokenizer.eos_id()));
    work.answer.text = cut_answer(tokenizer.decode(ids, true), until);
    finish(work);
  };
  generation.run(prompts, on_answer, [&] { report(); });
}

}  // namespace

Evaluator::Evaluator(Engine& engine, const Tokenizer& tokenizer, EvaluatorOptions options)
    : engine_(engine), tokenizer_(tokenizer), options_(std::move(options)) {
  if (options_.max_length == 0) options_.max_length = engine.config().max_position_embeddings;
  HYPENET_CHECK(options_.max_length > 0, "eval: max_length (config.json: max_position_embeddings, ",
                "or --max-length): expected at least 1, found ", options_.max_length);
  auto& stops = options_.stop_ids;
  if (tokenizer.eos_id()) stops.push_back(*tokenizer.eos_id());
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  if (options_.journal.empty()) return;
  const Json identity = {{"model", options_.identity},
                         {"ll_dtype", options_.sums_in_bf16 ? "bf16" : "float32"}};
  journal_ = std::make_unique<Journal>(options_.journal, identity);
}

std::vector<EvalAnswer> Evaluator::answer(std::span<const EvalRequest> requests,
                                          const OnProgress& report) {
  Agenda agenda(journal_.get(), report);
  std::unordered_map<std::string, size_t> works;
  std::vector<size_t> places;  // of each request: its work
  places.reserve(requests.size());
  constexpr size_t kEncodedAtOnce = 256;  // known answers' tokens are not kept
  while (places.size() < requests.size()) {
    if (report) report({});
    const auto left = requests.subspan(places.size());
    const auto some = left.first(std::min(left.size(), kEncodedAtOnce));
    auto encoded = encode_requests(tokenizer_, some, options_.max_length);
    for (size_t i = 0; i < some.size(); ++i) {
      const std::string key = request_key(some[i], encoded[i], options_.stop_ids);
      const auto [found, is_added] = works.emplace(key, agenda.size());
      if (is_added) agenda.add(some[i], std::move(encoded[i]), key);
      places.push_back(found->second);
    }
  }
  agenda.report();
  agenda.score(engine_, options_);
  agenda.generate(engine_, tokenizer_, options_.stop_ids);
  std::vector<EvalAnswer> answers;
  answers.reserve(places.size());
  for (const size_t place : places) answers.push_back(agenda.answer(place));
  return answers;
}

}  // namespace hypenet
