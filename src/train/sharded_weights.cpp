// What is gathered lies in one buffer a layer, whose memory comes and goes under tensors that stay:
// autograd and recorded graphs go on reading them.
#include "train/sharded_weights.h"

#include <torch/autograd.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <set>
#include <utility>

namespace hypenet {
namespace {

constexpr int64_t kAlignment = 128;  // elements; what products want of an address, and more

/// A tensor of this shape without content.
Tensor placeholder(const Tensor& like) {
  return torch::zeros({1}, like.options().requires_grad(false)).expand(like.sizes());
}

/// The elements in the order of memory, with zeros behind them up to `size`.
Tensor padded(const Tensor& whole, int64_t size) {
  const Tensor flat = whole.contiguous().view(-1);
  return flat.numel() == size ? flat : torch::constant_pad_nd(flat, {0, size - flat.numel()});
}

/// Gives the tensor's memory back, or takes new; the tensor itself and views of it stay.
void drop_memory(const Tensor& tensor) {
  tensor.storage().set_data_ptr_noswap(c10::DataPtr(nullptr, tensor.device()));
}
void take_memory(const Tensor& tensor) {
  const Tensor fresh = torch::empty_like(tensor);
  tensor.storage().set_data_ptr_noswap(
      fresh.storage().set_data_ptr(c10::DataPtr(nullptr, tensor.device())));
}

/// Whether so many bytes are little beside the memory of a GPU.
bool is_little(size_t bytes, torch::Device device) {
  constexpr size_t kLittle = 20;  // a twentieth
  if (!device.is_cuda()) return false;
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return bytes < total / kLittle;
}

}  // namespace

struct ShardedWeights::Matrix {
  std::string name;
  Weight* weight = nullptr;
  std::vector<int64_t> shape;
  int64_t elements = 0, part = 0;  // of the whole, of a rank's part with its padding
  Tensor master;                   // this rank's part [part]
  Tensor values;                   // of it, without the padding: has the gradient
  Tensor sent;                     // the same in the type that is computed in; may be the master
  Tensor gathered;                 // [count * part], in the unit's buffer; undefined: never
};

struct ShardedWeights::Unit {
  std::vector<Matrix> matrices;
  Tensor buffer;
  bool stays = false;             // once gathered, until finish()
  bool is_there = false;          // or on its way
  Communicator::Wait arriving;    // empty: here
  size_t trained = 0, known = 0;  // matrices with a gradient, and of them those that have it
};

/// Gradients that are being summed.
struct ShardedWeights::Sums {
  Communicator::Wait wait;
  std::vector<Tensor> targets, parts, wholes;
};

/// Tells that the gradient of a matrix is complete.
class ShardedWeights::AfterGradient : public torch::autograd::PostAccumulateGradHook {
 public:
  AfterGradient(ShardedWeights& owner, size_t unit) : owner_(owner), unit_(unit) {}
  void operator()(const Tensor& /*parameter*/) override {
    Unit& unit = owner_.units_[unit_];
    if (++unit.known == unit.trained) owner_.sum_gradients(unit);
  }

 private:
  ShardedWeights& owner_;
  size_t unit_;
};

std::shared_ptr<ShardedWeights> ShardedWeights::share_out(
    CausalLm& model, const std::shared_ptr<Communicator>& communicator, Gathered gathered) {
  const std::shared_ptr<ShardedWeights> sharded(new ShardedWeights(model, communicator, gathered));
  model->set_keeper(sharded);
  return sharded;
}

ShardedWeights::ShardedWeights(CausalLm& model, std::shared_ptr<Communicator> communicator,
                               Gathered gathered)
    : model_(*model),
      communicator_(std::move(communicator)),
      gathered_(gathered),
      layers_(model->config().num_hidden_layers) {
  const torch::NoGradGuard no_grad;
  const auto matrices = model_.matrices();
  const bool trains = std::ranges::any_of(
      matrices, [](const ModelMatrix& m) { return m.weight->master.requires_grad(); });
  units_.resize(static_cast<size_t>(layers_) + 2);
  for (const ModelMatrix& matrix : matrices) {
    if (!trains && matrix.layer >= layers_) continue;
    const auto unit = static_cast<size_t>(matrix.layer);
    units_[unit].matrices.push_back(take(matrix));
    const Tensor& master = matrix.weight->master;
    if (!master.requires_grad()) continue;
    ++units_[unit].trained;
    torch::autograd::impl::set_post_acc_grad_hooks(master,
                                                   std::make_unique<AfterGradient>(*this, unit));
  }
  for (Unit& unit : units_) lay_out(unit);
  size_t bytes = 0;
  for (const Unit& unit : units_) bytes += unit.buffer.defined() ? unit.buffer.nbytes() : 0;
  const bool all_stay = is_little(bytes, model_.head_weight().device());
  for (Unit& unit : units_) unit.stays = all_stay;
  std::set<std::string> names;
  for (const TensorPart& part : trained_) names.insert(part.name);
  for (auto& parameter : trainable_parameters(model)) {
    if (!names.contains(parameter.first)) whole_.push_back(std::move(parameter));
  }
}

ShardedWeights::~ShardedWeights() = default;

/// Leaves of the matrix what this rank holds.
ShardedWeights::Matrix ShardedWeights::take(const ModelMatrix& matrix) {
  const Ranks ranks = communicator_->ranks();
  Tensor& whole = matrix.weight->master;
  Matrix taken;
  taken.name = matrix.name, taken.weight = matrix.weight, taken.shape = whole.sizes().vec();
  taken.elements = whole.numel();
  taken.part = (taken.elements + ranks.count - 1) / ranks.count;
  taken.master = padded(whole.detach(), ranks.count * taken.part)
                     .narrow(0, ranks.index * taken.part, taken.part)
                     .clone();
  taken.sent = taken.master.to(model_.compute_type());
  const int64_t first = std::min(ranks.index * taken.part, taken.elements);
  taken.values = taken.master.narrow(0, 0, std::min(taken.part, taken.elements - first));
  matrix.weight->copy = Tensor();
  if (whole.requires_grad()) trained_.push_back({taken.name, taken.shape, taken.values, first});
  whole.set_data(placeholder(whole));
  return taken;
}

/// Gives the matrices their places in a buffer.
void ShardedWeights::lay_out(Unit& unit) {
  const int64_t count = communicator_->ranks().count;
  std::vector<int64_t> places;
  int64_t size = 0;
  const auto is_gathered = [&](const Matrix& matrix) {
    return gathered_ == Gathered::kAll || matrix.weight->master.requires_grad();
  };
  for (const Matrix& matrix : unit.matrices) {
    places.push_back(size);
    if (!is_gathered(matrix)) continue;
    size += (count * matrix.part + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (size == 0) return;
  unit.buffer = torch::empty({size}, unit.matrices.front().sent.options());
  for (size_t i = 0; i < places.size(); ++i) {
    Matrix& matrix = unit.matrices[i];
    if (!is_gathered(matrix)) continue;
    matrix.gathered = unit.buffer.narrow(0, places[i], count * matrix.part);
    matrix.weight->copy = matrix.gathered.narrow(0, 0, matrix.elements).view(matrix.shape);
  }
  drop_memory(unit.buffer);
}

void ShardedWeights::gather(Unit& unit) {
  if (unit.is_there || !unit.buffer.defined()) return;
  take_memory(unit.buffer);
  std::vector<Tensor> wholes, parts;
  for (const Matrix& matrix : unit.matrices) {
    if (!matrix.gathered.defined()) continue;
    wholes.push_back(matrix.gathered), parts.push_back(matrix.sent);
  }
  // Autograd has saved views of the buffer and would take this for a change of what they hold.
  const at::AutoDispatchBelowADInplaceOrView unseen;
  unit.arriving = communicator_->gather(wholes, parts);
  unit.is_there = true;
}

void ShardedWeights::use(Unit& unit) {
  gather(unit);
  if (const auto wait = std::exchange(unit.arriving, {})) wait();
}

void ShardedWeights::release(Unit& unit) {
  if (const auto wait = std::exchange(unit.arriving, {})) wait();
  if (std::exchange(unit.is_there, false)) drop_memory(unit.buffer);
}

void ShardedWeights::before_forward() {
  use(units_[static_cast<size_t>(layers_)]);
  use(units_[static_cast<size_t>(layers_) + 1]);
}

void ShardedWeights::before_layer(int64_t layer) { read(layer, layer + 1); }

void ShardedWeights::before_backward(int64_t layer) {
  // The loss, which comes first, gives the head its gradient.
  if (layer + 1 == layers_) sum_gradients(units_.back());
  read(layer, layer - 1);
}

/// Has this layer there and the next one on its way, and no other unless all can stay.
void ShardedWeights::read(int64_t layer, int64_t next) {
  for (int64_t i = 0; i < layers_; ++i) {
    Unit& unit = units_[static_cast<size_t>(i)];
    if (i != layer && i != next && !unit.stays) release(unit);
  }
  use(units_[static_cast<size_t>(layer)]);
  if (next >= 0 && next < layers_) gather(units_[static_cast<size_t>(next)]);
}

/// Begins to sum the unit's gradients, as far as there are some, into the parts.
void ShardedWeights::sum_gradients(Unit& unit) {
  const torch::NoGradGuard no_grad;
  const int64_t count = communicator_->ranks().count;
  auto sums = std::make_unique<Sums>();
  unit.known = 0;
  for (const Matrix& matrix : unit.matrices) {
    Tensor& gradient = matrix.weight->master.mutable_grad();
    if (!gradient.defined()) continue;
    sums->targets.push_back(matrix.values);
    sums->wholes.push_back(padded(gradient, count * matrix.part));
    sums->parts.push_back(torch::empty_like(matrix.master));
    gradient = Tensor();
  }
  if (sums->targets.empty()) return;
  settle_sums();  // two units' gradients at a time
  sums->wait = communicator_->sum_parts(sums->parts, sums->wholes);
  sums_ = std::move(sums);
}

void ShardedWeights::settle_sums() {
  if (!sums_) return;
  const auto sums = std::move(sums_);
  sums->wait();
  for (size_t i = 0; i < sums->targets.size(); ++i) {
    Tensor& gradient = sums->targets[i].mutable_grad();
    const Tensor sum = sums->parts[i].narrow(0, 0, sums->targets[i].numel());
    gradient = gradient.defined() ? gradient.add_(sum) : sum;
  }
}

void ShardedWeights::finish() {
  const torch::NoGradGuard no_grad;
  for (Unit& unit : units_) {
    sum_gradients(unit);
    release(unit);
  }
  settle_sums();
}

void ShardedWeights::refresh() {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> sent, masters;
  for (const Unit& unit : units_) {
    for (const Matrix& matrix : unit.matrices) {
      if (matrix.sent.is_same(matrix.master) || !matrix.weight->master.requires_grad()) continue;
      sent.push_back(matrix.sent), masters.push_back(matrix.master);
    }
  }
  if (!sent.empty()) at::_foreach_copy_(sent, masters);
}

void ShardedWeights::make_whole() {
  const torch::NoGradGuard no_grad;
  finish();
  for (Unit& unit : units_) {
    for (Matrix& matrix : unit.matrices) {
      const Tensor whole = torch::empty({communicator_->ranks().count * matrix.part},
                                        matrix.master.options().requires_grad(false));
      communicator_->gather({whole}, {matrix.master})();
      Tensor& master = matrix.weight->master;
      torch::autograd::impl::set_post_acc_grad_hooks(master, nullptr);
      master.set_data(whole.narrow(0, 0, matrix.elements).view(matrix.shape).clone());
      matrix = {};
    }
  }
  units_.clear();
  trained_.clear();
  model_.set_keeper(nullptr);  // may be the end of this object
}

}  // namespace hypenet
