// What linear layers are given, as GPTQ and the search of clips read it: X^T X, summed over tokens.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "quantize/linear_places.h"

namespace hypenet {

/// Watches the inputs of linear layers while forwards run; layers that share an input share a sum.
class InputProducts {
 public:
  /// `places` must outlive the object, which the layers tell of their inputs until it goes.
  explicit InputProducts(std::vector<LinearPlace> places, bool keeps_samples = false);
  ~InputProducts();
  InputProducts(const InputProducts&) = delete;
  InputProducts& operator=(const InputProducts&) = delete;

  /// Layers that read one input, in the order in which the forward came to them.
  struct Group {
    std::vector<LinearPlace> places = {};
    Tensor products = {};  // float64 [K, K], X^T X / tokens; only the lower blocks before finish()
    int64_t tokens = 0;    // seen so far
    /// float64 [K, K], (X_original - X)^T X / tokens; undefined where no originals were told.
    Tensor shift = {};
    std::vector<Tensor> samples = {};  // float32 [n, K], some of each input; empty unless asked
    Tensor seen = {};                  // the last input, kept so that no other can be taken for it
    Tensor original = {};              // the last one in the original model, float32 [tokens, K]
  };

  /// Whether the forwards from now on are the original model's: each batch goes through that first,
  /// then through the quantised one, whose inputs are summed.
  void expect_originals(bool are_originals) { sees_originals_ = are_originals; }

  /// The sums, each whole and divided by its tokens. Nothing is watched from now on. Throws Error
  /// naming a layer that no forward came to.
  std::vector<Group> finish();

 private:
  void see(const LinearPlace& place, const Tensor& x);
  Group& group_of(const LinearPlace& place, const Tensor& x);

  std::vector<LinearPlace> places_;
  bool keeps_samples_, sees_originals_ = false;
  std::vector<Group> groups_;
  std::map<std::string, size_t> group_of_;  // by the layer's name
};

}  // namespace hypenet
