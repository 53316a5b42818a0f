// Piecewise cross-entropy and KL: logits, their gradient in the same memory, two products of that.
#include "train/losses.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "ops/vocabulary_loss.h"

namespace hypenet {
namespace {

int64_t rounded_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

/// Tokens a piece. On a CPU a million logits, to stay in its cache. On a GPU 2,048 tokens at
/// V = 151,936 (0.6 GB of bfloat16): large enough that dz W fills 132 multiprocessors with tiles of
/// 128 x 256 at D = 2,048, and that dW, read and written once a piece, does not bind. Pieces are of
/// equal size, to a multiple of a tile's rows.
int64_t piece_tokens(const Tensor& hidden, int64_t vocabulary, int64_t piece) {
  if (piece > 0) return piece;
  if (!hidden.is_cuda()) return std::max<int64_t>(1, (int64_t{1} << 20) / vocabulary);
  constexpr int64_t kTileRows = 128, kElements = int64_t{5} << 26;
  const int64_t most = std::max(kTileRows, kElements / vocabulary / kTileRows * kTileRows);
  const int64_t pieces = (hidden.size(0) + most - 1) / most;
  return rounded_up((hidden.size(0) + pieces - 1) / pieces, kTileRows);
}

/// hidden weight^T. On a GPU rows begin at multiples of 16 bytes, as wide loads want.
Tensor piece_logits(const Tensor& hidden, const Tensor& weight) {
  if (!hidden.is_cuda()) return product(hidden, weight);
  const int64_t vocabulary = weight.size(0);
  const Tensor rows = torch::empty({hidden.size(0), rounded_up(vocabulary, 8)}, hidden.options());
  Tensor logits = rows.narrow(1, 0, vocabulary);
  return at::mm_out(logits, hidden, weight.t());
}

/// The loss of a piece's logits [n, V], whose first token is `first`.
using PieceLoss = std::function<LogitsLoss(const Tensor& logits, int64_t first, double scale)>;

LossGradient over_pieces(const Tensor& hidden, const Weight& head, const LossOptions& options,
                         const PieceLoss& piece_loss) {
  const torch::NoGradGuard no_grad;
  const int64_t tokens = hidden.size(0);
  const int64_t piece = piece_tokens(hidden, head.master.size(0), options.piece);
  const Tensor weight = head.in_type(hidden.scalar_type());
  LossGradient result{{}, torch::empty_like(hidden)};
  for (int64_t first = 0; first < tokens; first += piece) {
    const Tensor part = hidden.narrow(0, first, std::min(piece, tokens - first));
    const auto [loss, gradient] =
        piece_loss(piece_logits(part, weight), first, options.factor / static_cast<double>(tokens));
    result.loss = result.loss.defined() ? result.loss + loss : loss;
    Tensor place = result.hidden_gradient.narrow(0, first, part.size(0));
    if (hidden.is_cuda()) {
      at::mm_out(place, gradient, weight);
    } else {
      place.copy_(product(gradient, weight.t()));
    }
    if (head.master.requires_grad()) add_weight_gradient(head, gradient, part);
  }
  result.loss = result.loss * (1.0 / static_cast<double>(tokens));
  return result;
}

void check_head(const char* name, const Tensor& hidden, const Tensor& weight) {
  HYPENET_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), name,
                ": expected hidden [N, D] and weight [V, D], found ", hidden.sizes(), " and ",
                weight.sizes());
  HYPENET_CHECK(hidden.size(0) > 0, name, ": expected at least one token, found none");
}

/// Makes softmax of the known rows of `logits` [n, V] one at the target and zero elsewhere. Finite
/// numbers do, as exp(-kCertain) is zero in every type and minus infinity times zero is not.
void make_certain(const Tensor& logits, const Tensor& where, const Tensor& targets) {
  constexpr double kCertain = 1e4;
  const Tensor rows = where.unsqueeze(1), target = targets.unsqueeze(1);
  const Tensor of_target = logits.gather(1, target);
  logits.masked_fill_(rows, -kCertain);
  logits.scatter_(1, target, of_target.masked_fill(rows, 0));
}

void check_known(const KnownTargets& known, int64_t tokens) {
  if (!known.where.defined()) return;
  HYPENET_CHECK(known.where.sizes() == c10::IntArrayRef({tokens}) &&
                    known.targets.sizes() == c10::IntArrayRef({tokens}),
                "KL: expected known targets [", tokens, "], found ", known.where.sizes(), " and ",
                known.targets.sizes());
}

}  // namespace

LossGradient linear_cross_entropy(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                  const LossOptions& options) {
  check_head("cross-entropy", hidden, head.master);
  HYPENET_CHECK(targets.dim() == 1 && targets.size(0) == hidden.size(0),
                "cross-entropy: expected targets [", hidden.size(0), "], found ", targets.sizes());
  return over_pieces(hidden, head, options, [&](const Tensor& logits, int64_t first, double scale) {
    return cross_entropy(logits, targets.narrow(0, first, logits.size(0)), scale);
  });
}

LossGradient linear_kl(const Tensor& hidden, const Weight& head, const Tensor& teacher_hidden,
                       const Weight& teacher_head, const KnownTargets& known,
                       const LossOptions& options) {
  check_head("KL", hidden, head.master);
  check_head("KL teacher", teacher_hidden, teacher_head.master);
  HYPENET_CHECK(teacher_hidden.size(0) == hidden.size(0), "KL: expected as many teacher tokens as ",
                hidden.size(0), ", found ", teacher_hidden.size(0));
  HYPENET_CHECK(teacher_head.master.size(0) == head.master.size(0),
                "KL: expected the teacher's vocabulary to be ", head.master.size(0), ", found ",
                teacher_head.master.size(0));
  check_known(known, hidden.size(0));
  const Tensor teacher_weight = teacher_head.in_type(teacher_hidden.scalar_type());
  return over_pieces(hidden, head, options, [&](const Tensor& logits, int64_t first, double scale) {
    const int64_t count = logits.size(0);
    const Tensor expected = piece_logits(teacher_hidden.narrow(0, first, count), teacher_weight);
    if (known.where.defined()) {
      make_certain(expected, known.where.narrow(0, first, count),
                   known.targets.narrow(0, first, count));
    }
    return kl_divergence(logits, expected, scale);
  });
}

}  // namespace hypenet
