// The exchanges, each with its mirror image in backward, and the ops around them.
#include "ops/row_parts.h"

#include <torch/autograd.h>

#include <algorithm>

#include "ops/attention.h"
#include "ops/recurrence_forms.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void keep(AutogradContext* context, const RowPartsPointer& row) {
  context->saved_data["row"] = c10::IValue::make_capsule(row);
}

RowPartsPointer kept_row(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<RowParts>(context->saved_data["row"].toCapsule());
}

/// x [B, n, ...] of a part's tokens -> [B, T, ...] of the whole rows.
Tensor whole_rows(const Tensor& x, const RowPartsPointer& row) {
  Tensor own = x.contiguous();
  if (x.size(1) < row->most_tokens()) {  // ranks exchange tensors of one size
    std::vector<int64_t> shape = x.sizes().vec();
    shape[1] = row->most_tokens() - x.size(1);
    own = torch::cat({x, torch::zeros(shape, x.options())}, 1);
  }
  const Tensor all = row->gather(own);
  std::vector<Tensor> parts;
  for (int64_t p = 0; p < row->count(); ++p) {
    parts.push_back(all[p].narrow(1, 0, row->tokens_of(p)));
  }
  return torch::cat(parts, 1);
}

/// x [B, T, ...] of whole rows on every rank -> [B, n, ...], their sum at a part's tokens.
Tensor sum_at_own_tokens(const Tensor& x, const RowPartsPointer& row) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[1] = row->most_tokens();
  shape.insert(shape.begin(), row->count());
  const Tensor for_all = torch::zeros(shape, x.options());
  for (int64_t p = 0; p < row->count(); ++p) {
    const int64_t n = row->tokens_of(p);
    for_all[p].narrow(1, 0, n).copy_(x.narrow(1, row->first_token(p), n));
  }
  return row->sum_own(for_all).narrow(1, 0, row->tokens_of(row->index()));
}

/// The two with gradients: each is the other's way back.
struct WholeRows : torch::autograd::Function<WholeRows> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const RowPartsPointer& row) {
    keep(context, row);
    return whole_rows(x, row);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {sum_at_own_tokens(gradients[0], kept_row(context)), Tensor()};
  }
};

struct SumAtOwnTokens : torch::autograd::Function<SumAtOwnTokens> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const RowPartsPointer& row) {
    keep(context, row);
    return sum_at_own_tokens(x, row);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {whole_rows(gradients[0], kept_row(context)), Tensor()};
  }
};

/// What of each part's final state is left before this part's first token, [count, 1, H, 1, 1]:
/// exp(-decay) to the number of tokens between them; nothing of this part's and later ones'.
Tensor left_of_states(const Tensor& decay, const RowParts& row) {
  const int64_t index = row.index(), H = decay.size(0);
  const Tensor left = torch::zeros({row.count(), 1, H, 1, 1}, decay.options());
  for (int64_t p = 0; p < index; ++p) {
    const int64_t between = row.first_token(index) - row.first_token(p + 1);
    left[p].copy_((decay * -between).exp_().view({1, H, 1, 1}));
  }
  return left;
}

/// Of a constant decay: final states of all parts, each from a zero state, [B, H, dk, dv] -> the
/// state before this part. Backward: a part's gradient is what the later ones' states have of it.
struct StateBefore : torch::autograd::Function<StateBefore> {
  static Tensor forward(AutogradContext* context, const Tensor& state, const Tensor& decay,
                        const RowPartsPointer& row) {
    keep(context, row);
    const Tensor left = left_of_states(decay, *row);
    context->save_for_backward({left});
    return row->gather(state.contiguous()).mul_(left).sum(0);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor left = context->get_saved_variables()[0];
    return {kept_row(context)->sum_own((gradients[0].unsqueeze(0) * left).contiguous()), Tensor(),
            Tensor()};
  }
};

/// Of parts that turn a state S into M S + F, given as [M | F] [B, H, dk, dk + dv]: the state
/// before this part. Backward: what later parts want of their states comes back through the M
/// between.
struct MappedStateBefore : torch::autograd::Function<MappedStateBefore> {
  static Tensor forward(AutogradContext* context, const Tensor& map, const RowPartsPointer& row) {
    keep(context, row);
    const int64_t dk = map.size(2), dv = map.size(3) - dk;
    const Tensor all = row->gather(map.contiguous());
    Tensor state = torch::zeros({map.size(0), map.size(1), dk, dv}, map.options());
    for (int64_t p = 0; p < row->index(); ++p) {
      state = torch::matmul(all[p].narrow(3, 0, dk), state) + all[p].narrow(3, dk, dv);
    }
    context->save_for_backward({all, state});
    return state;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const RowPartsPointer row = kept_row(context);
    const variable_list saved = context->get_saved_variables();
    const Tensor &all = saved[0], &state = saved[1];
    const Tensor wanted = row->gather(gradients[0].contiguous());
    Tensor behind = torch::zeros_like(state);  // of the state after this part
    for (int64_t p = row->count() - 1; p > row->index(); --p) {
      const Tensor M = all[p].narrow(3, 0, state.size(2));
      behind = wanted[p] + torch::matmul(M.transpose(2, 3), behind);
    }
    return {torch::cat({torch::matmul(behind, state.transpose(2, 3)), behind}, 3), Tensor()};
  }
};

/// Calls use(i, part, place) for each of the `count` tokens before this part that a row has: the
/// i-th of them is at `place` among the last `count` tokens of `part`.
template <class Use>
void for_tokens_before(const RowParts& row, int64_t count, const Use& use) {
  const int64_t begin = row.first_token(row.index());
  int64_t part = 0;
  for (int64_t i = std::max<int64_t>(count - begin, 0); i < count; ++i) {
    const int64_t token = begin - count + i;
    while (row.first_token(part + 1) <= token) ++part;
    use(i, part, count - (row.first_token(part + 1) - token));
  }
}

/// The last tokens of each part, [B, count, C] -> those before this part; zeros before the first.
struct TokensBefore : torch::autograd::Function<TokensBefore> {
  static Tensor forward(AutogradContext* context, const Tensor& last, const RowPartsPointer& row) {
    keep(context, row);
    const Tensor all = row->gather(last.contiguous()), before = torch::zeros_like(last);
    for_tokens_before(*row, last.size(1), [&](int64_t i, int64_t part, int64_t place) {
      before.select(1, i).copy_(all[part].select(1, place));
    });
    return before;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const RowPartsPointer row = kept_row(context);
    std::vector<int64_t> shape = gradients[0].sizes().vec();
    shape.insert(shape.begin(), row->count());
    const Tensor for_all = torch::zeros(shape, gradients[0].options());
    for_tokens_before(*row, gradients[0].size(1), [&](int64_t i, int64_t part, int64_t place) {
      for_all[part].select(1, place).copy_(gradients[0].select(1, i));
    });
    return {row->sum_own(for_all), Tensor()};
  }
};

/// By the state that the parts before leave of theirs.
Tensor by_constant_decay(Recurrence input, const RowPartsPointer& row) {
  input.needs_state = true;
  const RecurrenceOutput own = recurrence(input);
  const Tensor decay = input.decay.to(sum_type(input.q));
  const Tensor before = StateBefore::apply(own.state, decay, row);
  const int64_t n = input.q.size(1);
  const Tensor time = torch::arange(1, n + 1, decay.options()).unsqueeze(1);
  const Tensor left =
      (time * -decay).exp_().unsqueeze(-1);  // of that state at each token, [n, H, 1]
  const torch::ScalarType type = input.q.scalar_type();
  const Tensor queries = (input.q * left.to(type)).transpose(1, 2);  // [B, H, n, dk]
  const Tensor earlier = torch::matmul(queries, (before * input.scale).to(type));
  return own.output + earlier.transpose(1, 2);
}

/// By what the parts before make of any state. The recurrence of no values and the identity as its
/// state says what each token reads of the state before the part, and what is left of that.
Tensor by_maps(Recurrence input, const RowPartsPointer& row) {
  input.needs_state = true;
  const RecurrenceOutput own = recurrence(input);
  Recurrence passing = input;
  passing.v = torch::zeros_like(input.k);
  const int64_t dk = input.k.size(3);
  passing.state = torch::eye(dk, own.state.options())
                      .expand({input.q.size(0), input.q.size(2), dk, dk})
                      .contiguous();
  const RecurrenceOutput through = recurrence(passing);
  const Tensor before = MappedStateBefore::apply(torch::cat({through.state, own.state}, 3), row);
  const Tensor readers = through.output.transpose(1, 2);  // [B, H, n, dk]
  const Tensor earlier = torch::matmul(readers, before.to(readers.scalar_type()));
  return own.output + earlier.transpose(1, 2);
}

}  // namespace

Tensor row_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                     const RowPartsPointer& row) {
  const int64_t T = row->tokens(), H = q.size(2), G = k.size(2), chunks = 2 * row->count();
  const auto all = WholeRows::apply(torch::cat({q, k, v}, 2), row).split_with_sizes({H, G, G}, 2);
  // Later queries see more keys: of as many chunks a rank takes one from the front and one from the
  // back.
  std::vector<Tensor> outputs;
  int64_t done = 0;
  const auto add_zeros = [&](int64_t until) {
    outputs.push_back(torch::zeros({q.size(0), until - done, H, q.size(3)}, q.options()));
    done = until;
  };
  for (const int64_t chunk : {row->index(), chunks - 1 - row->index()}) {
    const int64_t first = T * chunk / chunks, end = T * (chunk + 1) / chunks;
    if (first == end) continue;  // fewer tokens than chunks
    add_zeros(first);
    outputs.push_back(causal_attention(all[0].narrow(1, first, end - first),
                                       all[1].narrow(1, 0, end), all[2].narrow(1, 0, end)));
    done = end;
  }
  add_zeros(T);
  return SumAtOwnTokens::apply(torch::cat(outputs, 1), row);
}

Tensor row_recurrence(const Recurrence& input, const RowPartsPointer& row) {
  check_recurrence(input);
  HYPENET_CHECK(
      !input.offsets.defined() && !input.state.defined(),
      "recurrence of a row on several ranks: expected neither offsets nor a state, found ",
      input.offsets.defined() ? "offsets" : "a state");
  return has_constant_decay(input) ? by_constant_decay(input, row) : by_maps(input, row);
}

std::vector<Tensor> row_tails(const std::vector<Tensor>& inputs, int64_t count,
                              const RowPartsPointer& row) {
  std::vector<Tensor> last;
  std::vector<int64_t> channels;
  for (const Tensor& x : inputs) {
    const int64_t n = std::min(x.size(1), count);
    last.push_back(at::constant_pad_nd(x.narrow(1, x.size(1) - n, n), {0, 0, count - n, 0}));
    channels.push_back(x.size(2));
  }
  const Tensor before = TokensBefore::apply(torch::cat(last, 2), row);
  return before.transpose(1, 2).split_with_sizes(channels, 1);
}

}  // namespace hypenet
