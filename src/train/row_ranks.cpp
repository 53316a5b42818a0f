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

void check_row_ranks(const StageConfig& stage, Ranks ranks,
                     const std::vector<const MixerKind*>& mixers, const std::string& place) {
  const int64_t count = stage.row_ranks;
  if (count == 1) return;
  HYPENET_CHECK(ranks.count % count == 0, place, ": row_ranks: expected a divisor of the ",
                ranks.count, " ranks, found ", count);
  for (const MixerKind* const kind : mixers) {
    HYPENET_CHECK(kind->splits_rows, place, ": row_ranks: mixer ", kind->name,
                  ": expected 1, as it reads whole rows, found ", count);
  }
}

}  // namespace hypenet
