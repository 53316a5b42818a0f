// Ranks of a row follow each other, so that they are neighbours on a host.
#include "train/row_ranks.h"

#include "base/error.h"
#include "model/mixers/mixer_kind.h"

namespace hypenet {
namespace {

/// By the communicator of the ranks of a row.
class RankRowParts : public RowParts {
 public:
  RankRowParts(std::shared_ptr<Communicator> group, int64_t tokens)
      : RowParts(group->ranks().index, group->ranks().count, tokens), group_(std::move(group)) {}

  Tensor gather(const Tensor& own) override {
    std::vector<int64_t> shape = own.sizes().vec();
    shape.insert(shape.begin(), count());
    Tensor all = torch::empty(shape, own.options());
    group_->gather({all.view(-1)}, {own.view(-1)})();
    return all;
  }

  Tensor sum_own(const Tensor& for_all) override {
    Tensor own = torch::empty(for_all.sizes().slice(1), for_all.options());
    group_->sum_parts({own.view(-1)}, {for_all.view(-1)})();
    return own;
  }

 private:
  std::shared_ptr<Communicator> group_;
};

}  // namespace

Ranks row_groups(const StageConfig& stage, Ranks ranks) {
  return {ranks.index / stage.row_ranks, ranks.count / stage.row_ranks};
}

Batch own_tokens(const StageConfig& stage, Ranks ranks, const Batch& rows) {
  if (stage.row_ranks == 1) return rows;
  const Ranks own = {ranks.index % stage.row_ranks, stage.row_ranks};
  return rows.map([&](const Tensor& x) {
    const int64_t first = own.first_row(x.size(1)), end = own.end_row(x.size(1));
    return x.narrow(1, first, end - first).contiguous();
  });
}

RowPartsPointer new_row_parts(const StageConfig& stage, Communicator& communicator) {
  if (stage.row_ranks == 1) return {};
  return c10::make_intrusive<RankRowParts>(communicator.split(stage.row_ranks), stage.context);
}

int64_t micro_batches(const StageConfig& stage, Ranks ranks) {
  const Ranks groups = row_groups(stage, ranks);
  const int64_t rows = groups.end_row(stage.sequences) - groups.first_row(stage.sequences);
  const int64_t micro = stage.micro_sequences;
  return micro > 0 ? (rows + micro - 1) / micro : 1;
}

void check_row_ranks(const StageConfig& stage, Ranks ranks,
                     const std::vector<const MixerKind*>& mixers, const std::string& place) {
  const int64_t sharers = stage.row_ranks;
  HYPENET_CHECK(ranks.count % sharers == 0, place, ": row_ranks: expected a divisor of the ",
                ranks.count, " ranks, found ", sharers);
  for (const MixerKind* const kind : mixers) {
    HYPENET_CHECK(sharers == 1 || kind->splits_rows, place, ": row_ranks: mixer ", kind->name,
                  ": expected 1, as it reads whole rows, found ", sharers);
  }
  const int64_t groups = ranks.count / sharers;
  const std::string who = concat(groups, sharers > 1 ? " groups of ranks" : " ranks");
  HYPENET_CHECK(stage.sequences >= groups, place, ": sequences: expected at least one for each of ",
                who, ", found ", stage.sequences);
  // What is shared out is gathered by all ranks alike. The first group has the fewest rows, the
  // last one the most.
  HYPENET_CHECK(micro_batches(stage, {0, ranks.count}) ==
                    micro_batches(stage, {ranks.count - 1, ranks.count}),
                place, ": sequences: expected a number that gives each of ", who,
                " as many micro-batches of ", stage.micro_sequences, ", found ", stage.sequences);
}

}  // namespace hypenet
