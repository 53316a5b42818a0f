// Likelihoods are scored before anything is generated, because that takes the engine's memory. A
// variant's answers are in the journal under the request's key and the variant's number.
#include "eval/evaluator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "engine/score_batches.h"
#include "text/stop_strings.h"

namespace hypenet {
namespace {

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

/// What is known of a variant's answer.
struct Response {
  EvalAnswer answer = {};
  bool is_known = false;
  std::vector<double> sums = {};  // of the parts, added up in their order
  size_t parts_left = 0;
  int64_t tokens_left = 0;  // as progress counts them
};

/// A request that differs from all others.
struct Work {
  const EvalRequest* request = nullptr;
  EncodedRequest encoded = {};
  std::string key = {};
  int64_t tokens = 0;
  std::vector<Response> responses = {};  // [variant]

  bool is_generated() const { return request->kind == RequestKind::kGenerate; }
  bool is_done() const { return std::ranges::all_of(responses, &Response::is_known); }
};

int64_t tokens_of(const EvalRequest& request, const EncodedRequest& encoded) {
  int64_t tokens = static_cast<int64_t>(encoded.prompt.size()) + request.max_tokens;
  for (const ScoredRow& row : encoded.parts) tokens += static_cast<int64_t>(row.ids.size());
  return tokens;
}

/// The work of one call of Evaluator::answer.
class Agenda {
 public:
  Agenda(Respondent& respondent, const Tokenizer& tokenizer, const EvaluatorOptions& options,
         Journal* journal, const Evaluator::Report& report)
      : respondent_(respondent),
        tokenizer_(tokenizer),
        options_(options),
        journal_(journal),
        report_(report) {}

  void read(std::span<const EvalRequest* const> requests);
  void score();
  void generate();
  void report() const {
    if (report_) report_(progress_);
  }
  /// [variant][request]
  std::vector<std::vector<EvalAnswer>> answers() const;

 private:
  void add(const EvalRequest& request, EncodedRequest encoded, const std::string& key);
  void take_row(Work& work, size_t variant, size_t part, const std::vector<TokenScore>& scores);
  void finish(const Work& work, size_t variant, Response& response);

  KindProgress& progress_of(const Work& work) {
    return work.is_generated() ? progress_.generated : progress_.scored;
  }
  std::string journal_key(const Work& work, size_t variant) const {
    return respondent_.variants() == 1 ? work.key : concat(work.key, ".", variant);
  }

  Respondent& respondent_;
  const Tokenizer& tokenizer_;
  const EvaluatorOptions& options_;
  Journal* journal_;
  const Evaluator::Report& report_;
  std::vector<Work> works_;
  std::unordered_map<std::string, size_t> by_key_;
  std::vector<size_t> places_;  // of each request: its work
  EvaluationProgress progress_;
};

/// Requests become tokens; those of known answers are not kept.
void Agenda::read(std::span<const EvalRequest* const> requests) {
  constexpr size_t kEncodedAtOnce = 256;
  while (places_.size() < requests.size()) {
    if (report_) report_({});
    const auto left = requests.subspan(places_.size());
    const auto some = left.first(std::min(left.size(), kEncodedAtOnce));
    auto encoded = encode_requests(tokenizer_, some, options_.max_length);
    for (size_t i = 0; i < some.size(); ++i) {
      const std::string key = request_key(*some[i], encoded[i], options_.stop_ids);
      const auto [found, is_added] = by_key_.emplace(key, works_.size());
      progress_.cut += encoded[i].is_cut;
      if (is_added) add(*some[i], std::move(encoded[i]), key);
      places_.push_back(found->second);
    }
  }
  report();
}

void Agenda::add(const EvalRequest& request, EncodedRequest encoded, const std::string& key) {
  Work work{.request = &request, .encoded = std::move(encoded), .key = key};
  work.tokens = tokens_of(request, work.encoded);
  work.responses.resize(respondent_.variants());
  KindProgress& progress = progress_of(work);
  progress.cut += work.encoded.is_cut;
  for (size_t variant = 0; variant < work.responses.size(); ++variant) {
    Response& response = work.responses[variant];
    const EvalAnswer* known = journal_ ? journal_->find(journal_key(work, variant)) : nullptr;
    ++progress.total;
    if (known) {
      response.answer = *known;
      response.is_known = true;
      ++progress.done;
      continue;
    }
    response.answer.is_greedy = !work.is_generated();
    response.parts_left = work.encoded.parts.size();
    response.sums.resize(response.parts_left);
    response.tokens_left = work.tokens;
    progress.tokens_total += work.tokens;
  }
  if (work.is_done()) work.encoded = {};
  works_.push_back(std::move(work));
}

void Agenda::finish(const Work& work, size_t variant, Response& response) {
  if (journal_) journal_->add(journal_key(work, variant), response.answer);
  response.is_known = true;
  KindProgress& progress = progress_of(work);
  ++progress.done;
  progress.tokens_done += response.tokens_left;
}

void Agenda::take_row(Work& work, size_t variant, size_t part,
                      const std::vector<TokenScore>& scores) {
  Response& response = work.responses[variant];
  if (response.is_known) return;
  const double sum = response.sums[part] = sum_of(scores, options_.sums_in_bf16);
  const auto tokens = work.tokens / static_cast<int64_t>(response.sums.size());
  response.tokens_left -= tokens;
  progress_.scored.tokens_done += tokens;
  HYPENET_CHECK(std::isfinite(sum), respondent_.name_of_likelihood(variant),
                ": expected a finite number, found nan or infinity: the model's weights or "
                "arithmetic overflow");
  response.answer.is_greedy &= std::ranges::all_of(scores, &TokenScore::greedy);
  if (--response.parts_left > 0) return;
  response.answer.loglikelihood = std::accumulate(response.sums.begin(), response.sums.end(), 0.0);
  finish(work, variant, response);
}

void Agenda::score() {
  std::vector<ScoredRow> rows;
  std::vector<std::pair<Work*, size_t>> places;  // of each row: the work and the part
  for (Work& work : works_) {
    for (ScoredRow& part : work.encoded.parts) {
      places.emplace_back(&work, &part - work.encoded.parts.data());
      rows.push_back(std::move(part));
    }
  }
  respondent_.score(rows, score_batches(rows, respondent_.batch_tokens()),
                    [&](size_t variant, size_t row, const auto& scores) {
                      take_row(*places[row].first, variant, places[row].second, scores);
                      report();
                    });
}

void Agenda::generate() {
  std::vector<Work*> works;
  for (Work& work : works_) {
    if (work.is_generated() && !work.is_done()) works.push_back(&work);
  }
  if (works.empty()) return;
  std::ranges::stable_sort(works, std::greater(),
                           [](const Work* work) { return work->encoded.prompt.size(); });
  std::vector<Request> requests;
  requests.reserve(works.size());
  for (Work* work : works) {
    Request& request = requests.emplace_back();
    request.prompt = std::move(work->encoded.prompt);
    request.options.max_tokens = work->request->max_tokens;
    request.options.stop_ids = options_.stop_ids;
  }
  std::map<std::pair<size_t, size_t>, StopStrings> stops;  // of the answers under way
  AnswerUse use;
  use.is_wanted = [&](size_t variant, size_t place) {
    return !works[place]->responses[variant].is_known;
  };
  use.on_token = [&](size_t variant, size_t place, int32_t id) {
    const auto& until = works[place]->request->until;
    StopStrings& own =
        stops.try_emplace({variant, place}, tokenizer_, until, /*skip_special_tokens=*/false)
            .first->second;
    own.push(id);
    return !own.has_stopped();
  };
  use.on_answer = [&](size_t variant, size_t place, const std::vector<int32_t>& ids) {
    stops.erase({variant, place});
    Work& work = *works[place];
    std::vector<std::string> until = work.request->until;
    if (tokenizer_.eos_id()) until.emplace_back(tokenizer_.token_bytes(*tokenizer_.eos_id()));
    Response& response = work.responses[variant];
    response.answer.text = cut_answer(tokenizer_.decode(ids, true), until);
    finish(work, variant, response);
  };
  use.on_step = [&] { report(); };
  respondent_.generate(requests, use);
}

std::vector<std::vector<EvalAnswer>> Agenda::answers() const {
  std::vector<std::vector<EvalAnswer>> all(respondent_.variants());
  for (size_t variant = 0; variant < all.size(); ++variant) {
    all[variant].reserve(places_.size());
    for (const size_t place : places_) {
      all[variant].push_back(works_[place].responses[variant].answer);
    }
  }
  return all;
}

}  // namespace

Evaluator::Evaluator(Respondent& respondent, const Tokenizer& tokenizer, EvaluatorOptions options)
    : options_(std::move(options)),
      respondent_(respondent, *options_.ranks),
      tokenizer_(tokenizer) {
  if (options_.max_length == 0) options_.max_length = respondent.made_for();
  HYPENET_CHECK(options_.max_length > 0, "eval: max_length (config.json: max_position_embeddings, ",
                "or --max-length): expected at least 1, found ", options_.max_length);
  auto& stops = options_.stop_ids;
  if (tokenizer.eos_id()) stops.push_back(*tokenizer.eos_id());
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  if (options_.journal.empty()) return;
  journal_ = std::make_unique<Journal>(options_.journal, options_.identity, options_.ranks);
}

std::vector<std::vector<EvalAnswer>> Evaluator::answer(std::span<const EvalRequest* const> requests,
                                                       const Report& report) {
  Agenda agenda(respondent_, tokenizer_, options_, journal_.get(), report);
  agenda.read(requests);
  agenda.score();
  agenda.generate();
  return agenda.answers();
}

std::vector<std::vector<EvalAnswer>> Evaluator::answer(std::span<const EvalRequest> requests,
                                                       const Report& report) {
  return answer(addresses_of(requests), report);
}

}  // namespace hypenet
