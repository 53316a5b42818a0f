// On the way between ranks are records of numbers, as they lie in memory: the hosts of a job are of
// one kind.
#include "eval/shared.h"

#include <algorithm>
#include <cstring>

#include "engine/score_batches.h"

namespace hypenet {
namespace {

// Of a round: few enough that little is lost when a job is killed.
constexpr size_t kBatchesOfRound = 4, kRequestsOfRound = 128;

template <class Number>
void append(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  bool is_at_end() const { return at_ == bytes_.size(); }

  template <class Number>
  Number next() {
    Number number;
    std::memcpy(&number, bytes_.data() + at_, sizeof number);
    at_ += sizeof number;
    return number;
  }

 private:
  const std::string& bytes_;
  size_t at_ = 0;
};

}  // namespace

void append_scores(std::string& bytes, size_t variant, size_t row,
                   const std::vector<TokenScore>& scores) {
  for (const size_t number : {variant, row, scores.size()}) append(bytes, number);
  for (const TokenScore& token : scores) {
    append(bytes, token.logprob);
    append(bytes, token.greedy);
  }
}

void read_scores(const std::string& bytes, const OnScores& on_scores) {
  for (Reader reader(bytes); !reader.is_at_end();) {
    const auto variant = reader.next<size_t>(), row = reader.next<size_t>();
    std::vector<TokenScore> scores(reader.next<size_t>());
    for (TokenScore& token : scores) {
      token.logprob = reader.next<float>();
      token.greedy = reader.next<bool>();
    }
    on_scores(variant, row, scores);
  }
}

RowBatches own_batches(RowBatches batches, Ranks ranks) {
  RowBatches own;
  for (auto i = static_cast<size_t>(ranks.index); i < batches.size();
       i += static_cast<size_t>(ranks.count)) {
    own.push_back(std::move(batches[i]));
  }
  return own;
}

RowScores score_shared(Engine& engine, std::span<const ScoredRow> rows, const ScoreOptions& options,
                       Communicator& ranks) {
  const int64_t tokens =
      options.batch_tokens > 0 ? options.batch_tokens : engine.score_batch_tokens();
  const RowBatches batches = own_batches(score_batches(rows, tokens), ranks.ranks());
  std::string bytes;
  engine.score(rows, {.batches = &batches, .on_row = [&](size_t row, const auto& scores) {
                        ranks.give_sign();
                        append_scores(bytes, 0, row, scores);
                        if (options.on_row) options.on_row(row, scores);
                      }});
  RowScores all(rows.size());
  for (const std::string& of_rank : ranks.gather_bytes(bytes)) {
    read_scores(of_rank, [&](size_t, size_t row, const auto& scores) { all[row] = scores; });
  }
  return all;
}

void SharedRespondent::score(std::span<const ScoredRow> rows, const RowBatches& batches,
                             const OnScores& on_scores) {
  const auto index = static_cast<size_t>(ranks_.ranks().index);
  const auto count = static_cast<size_t>(ranks_.ranks().count);
  const std::span<const std::vector<size_t>> all = batches;
  for (size_t at = 0; at < all.size(); at += count * kBatchesOfRound) {
    // A rank's batches are neighbours: told rank after rank, they are in the order of one rank.
    const auto left = all.subspan(std::min(all.size(), at + index * kBatchesOfRound));
    const auto own = left.first(std::min(left.size(), kBatchesOfRound));
    std::string bytes;
    own_.score(rows, {own.begin(), own.end()}, [&](size_t variant, size_t row, const auto& scores) {
      ranks_.give_sign();
      append_scores(bytes, variant, row, scores);
    });
    for (const std::string& of_rank : ranks_.gather_bytes(bytes)) read_scores(of_rank, on_scores);
  }
}

void SharedRespondent::generate(std::span<const Request> requests, const AnswerUse& use) {
  const auto count = static_cast<size_t>(ranks_.ranks().count);
  for (size_t begin = 0; begin < requests.size(); begin += count * kRequestsOfRound) {
    const size_t end = std::min(requests.size(), begin + count * kRequestsOfRound);
    std::vector<Request> own;
    std::vector<size_t> places;
    for (size_t i = begin + static_cast<size_t>(ranks_.ranks().index); i < end; i += count) {
      own.push_back(requests[i]);
      places.push_back(i);
    }
    std::string bytes;
    AnswerUse here;
    here.on_step = use.on_step;
    if (use.is_wanted) {
      here.is_wanted = [&](size_t variant, size_t i) { return use.is_wanted(variant, places[i]); };
    }
    if (use.on_token) {
      here.on_token = [&](size_t variant, size_t i, int32_t id) {
        return use.on_token(variant, places[i], id);
      };
    }
    here.on_answer = [&](size_t variant, size_t i, const std::vector<int32_t>& ids) {
      for (const size_t number : {variant, places[i], ids.size()}) append(bytes, number);
      for (const int32_t id : ids) append(bytes, id);
    };
    own_.generate(own, here);
    for (const std::string& of_rank : ranks_.gather_bytes(bytes)) {
      for (Reader reader(of_rank); !reader.is_at_end();) {
        const auto variant = reader.next<size_t>(), request = reader.next<size_t>();
        std::vector<int32_t> ids(reader.next<size_t>());
        for (int32_t& id : ids) id = reader.next<int32_t>();
        use.on_answer(variant, request, ids);
      }
    }
  }
}

}  // namespace hypenet
