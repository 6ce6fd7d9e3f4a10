//! `optim/`: agreement with PyTorch (`tests/golden/make_optim.py`), saved states, invalid settings.
use sassl::optim::*;
use serde_json::Value;
use std::fs;

/// The results of PyTorch.
fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optim.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn doubles(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    doubles(value).into_iter().map(|x| x as f32).collect()
}

fn tensors(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().unwrap().iter().map(floats).collect()
}

fn parameters(golden: &Value) -> Vec<TensorInfo> {
    let parameter =
        |(name, shape): (String, Vec<usize>)| TensorInfo { name, ndim: shape.len(), len: shape.iter().product() };
    let shapes: Vec<(String, Vec<usize>)> = serde_json::from_value(golden["shapes"].clone()).unwrap();
    shapes.into_iter().map(parameter).collect()
}

/// Creates the optimizer of a case of the script.
fn optimizer(case: &str, parameters: Vec<TensorInfo>) -> Optimizer {
    let sgd = |momentum, nesterov, weight_decay, decayed| {
        Optimizer::new(Sgd { momentum, nesterov, weight_decay, decayed }, parameters.clone())
    };
    let made = match case {
        "sgd_plain" => Optimizer::new(Sgd::default(), parameters),
        "sgd_decay" => sgd(0.0, false, 0.05, Group::Matrices),
        "sgd_momentum" => sgd(0.9, false, 0.05, Group::All),
        "sgd_nesterov" => sgd(0.9, true, 0.05, Group::Matrices),
        "lars" => Optimizer::new(Lars { weight_decay: 0.05, ..Lars::default() }, parameters),
        "lars_all" => {
            let lars = Lars { momentum: 0.8, weight_decay: 0.0, eta: 0.02, adapted: Group::All };
            Optimizer::new(lars, parameters)
        }
        "adamw" => Optimizer::new(AdamW::default(), parameters),
        "adamw_matrices" => {
            let adamw = AdamW { betas: (0.8, 0.95), eps: 1e-6, weight_decay: 0.1, decayed: Group::Matrices };
            Optimizer::new(adamw, parameters)
        }
        _ => panic!("{case} is not known here"),
    };
    made.unwrap()
}

/// Takes the fixture's steps of this range.
fn go(golden: &Value, optimizer: &mut Optimizer, params: &mut [Vec<f32>], steps: std::ops::Range<usize>) {
    let rates = doubles(&golden["rates"]);
    for step in steps {
        let grads = tensors(&golden["grads"][step]);
        for (index, (param, grad)) in params.iter_mut().zip(&grads).enumerate() {
            optimizer.update(index, rates[step], param, grad);
        }
    }
}

/// Checks equality up to the rounding of `f32`: of the value, and of values near 1 whose difference it may be.
fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-6 * expected.abs() + f32::EPSILON, "{what}: {got} is not {expected}");
    }
}

/// A state as read from a file.
type Saved = Vec<(String, Vec<f32>)>;

fn owned(state: &[(String, &[f32])]) -> Saved {
    state.iter().map(|(entry, numbers)| (entry.clone(), numbers.to_vec())).collect()
}

fn borrowed(state: &[(String, Vec<f32>)]) -> Vec<(String, &[f32])> {
    state.iter().map(|(entry, numbers)| (entry.clone(), numbers.as_slice())).collect()
}

#[test]
fn five_steps_end_where_pytorch_ends() {
    let golden = golden();
    for (case, expected) in golden["cases"].as_object().unwrap() {
        let (mut optimizer, mut params) = (optimizer(case, parameters(&golden)), tensors(&golden["first"]));
        go(&golden, &mut optimizer, &mut params, 0..5);
        for (got, expected) in params.iter().zip(tensors(&expected["params"])) {
            assert_close(got, &expected, case);
        }
        let (state, expected) = (optimizer.state(), expected["state"].as_object().unwrap());
        assert_eq!(state.len(), expected.len(), "{case}");
        for (entry, numbers) in state {
            assert_close(numbers, &floats(&expected[&entry]), &format!("{case}, {entry}"));
        }
    }
}

#[test]
fn a_state_goes_on_with_the_same_bits() {
    let golden = golden();
    for case in golden["cases"].as_object().unwrap().keys() {
        let make = || optimizer(case, parameters(&golden));
        let (mut whole, mut expected) = (make(), tensors(&golden["first"]));
        go(&golden, &mut whole, &mut expected, 0..5);

        let (mut first, mut second, mut params) = (make(), make(), tensors(&golden["first"]));
        go(&golden, &mut first, &mut params, 0..2);
        let mut saved = first.state();
        saved.reverse();
        second.load_state(&saved).unwrap();
        go(&golden, &mut second, &mut params, 2..5);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(params.iter().zip(&expected).all(|(got, expected)| bits(got) == bits(expected)), "{case}");
        assert_eq!(second.state(), whole.state(), "{case}");
    }
}

#[test]
fn a_bad_state_is_named_and_changes_nothing() {
    let golden = golden();
    let (mut optimizer, mut params) = (optimizer("adamw", parameters(&golden)), tensors(&golden["first"]));
    go(&golden, &mut optimizer, &mut params, 0..2);
    let before = owned(&optimizer.state());
    let mut refused = |state: Saved, words: [&str; 2]| {
        let error = optimizer.load_state(&borrowed(&state)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!(owned(&optimizer.state()), before);
    };
    // The other entries are valid, and differ from the current state, so that a partial load would be noticed.
    let others: Saved = before.iter().map(|(entry, numbers)| (entry.clone(), vec![7.0; numbers.len()])).collect();
    let with = |change: &dyn Fn(&mut Saved)| {
        let mut state = others.clone();
        change(&mut state);
        state
    };
    let last = others.len() - 1;
    let entry = others[last].0.as_str();
    refused(with(&|state| drop(state.pop())), [entry, "missing"]);
    refused(with(&|state| state[last].1.push(0.0)), [entry, "must have length 1, got 2"]);
    refused(with(&|state| state.push(("fc.mu".into(), vec![0.0]))), ["fc.mu", "does not belong to this optimizer"]);
    refused(with(&|state| state.push(others[last].clone())), [entry, "twice"]);
    refused(vec![], ["fc.weight.exp_avg", "missing"]);
}

#[test]
fn schedules_are_those_of_the_formulas() {
    let golden = golden();
    let ks: Vec<u64> = serde_json::from_value(golden["ks"].clone()).unwrap();
    let check = |name: &str, at: &dyn Fn(u64) -> f64| {
        for (&k, expected) in ks.iter().zip(doubles(&golden[name])) {
            assert!((at(k) - expected).abs() <= 1e-14, "{name} at {k}: {} is not {expected}", at(k));
        }
        assert_eq!(at(100), at(1000), "{name} goes on after its end");
    };
    let (moco, warm) = (Schedule::new(0.03, 0, 100).unwrap(), Schedule::new(4.8, 10, 100).unwrap());
    let tau = Momentum::cosine(0.996, 100).unwrap();
    check("moco_lr", &|k| moco.at(k));
    check("warm_lr", &|k| warm.at(k));
    check("tau", &|k| tau.at(k));
    assert_eq!(Momentum::constant(0.999).unwrap().at(57), 0.999);
    assert_eq!(Scaling::Linear.lr(0.3, 512), golden["scaled"]["linear"].as_f64().unwrap());
    assert_eq!(Scaling::SquareRoot.lr(0.075, 512), golden["scaled"]["square_root"].as_f64().unwrap());
}

#[test]
fn the_average_moves_by_what_is_left_to_1() {
    let golden = golden();
    let (mut target, online) = (floats(&golden["first"][0]), floats(&golden["grads"][0][0]));
    ema(&mut target, &online, 0.996);
    assert_close(&target, &floats(&golden["ema"]), "ema");
    let before = target.clone();
    ema(&mut target, &online, 1.0);
    assert_eq!(target, before);
    ema(&mut target, &online, 0.0);
    assert_eq!(target, online);
}

#[test]
fn settings_that_cannot_be_are_named() {
    let one = || vec![TensorInfo { name: "fc.bias".into(), ndim: 1, len: 3 }];
    let refused = |result: sassl::Result<Optimizer>, start: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    };
    let (sgd, lars, adamw) = (Sgd::default(), Lars::default(), AdamW::default());
    refused(Optimizer::new(Sgd { momentum: 1.0, ..sgd }, one()), "momentum must be in [0, 1), got 1");
    refused(Optimizer::new(Sgd { momentum: -0.1, ..sgd }, one()), "momentum must be in [0, 1), got -0.1");
    refused(Optimizer::new(Sgd { nesterov: true, ..sgd }, one()), "momentum must be > 0 for Nesterov momentum, got 0");
    refused(
        Optimizer::new(Sgd { weight_decay: f64::NAN, ..sgd }, one()),
        "weight_decay must be a finite number >= 0, got NaN",
    );
    refused(Optimizer::new(Lars { momentum: f64::NAN, ..lars }, one()), "momentum must be in [0, 1), got NaN");
    refused(
        Optimizer::new(Lars { weight_decay: -1e-6, ..lars }, one()),
        "weight_decay must be a finite number >= 0, got -0.000001",
    );
    refused(Optimizer::new(Lars { eta: 0.0, ..lars }, one()), "eta must be a finite number > 0, got 0");
    refused(Optimizer::new(AdamW { betas: (1.0, 0.999), ..adamw }, one()), "beta1 must be in [0, 1), got 1");
    refused(Optimizer::new(AdamW { betas: (0.9, 1.5), ..adamw }, one()), "beta2 must be in [0, 1), got 1.5");
    refused(Optimizer::new(AdamW { eps: 0.0, ..adamw }, one()), "eps must be > 0 and <= 1, got 0");
    refused(
        Optimizer::new(AdamW { weight_decay: f64::INFINITY, ..adamw }, one()),
        "weight_decay must be a finite number >= 0, got inf",
    );
    refused(Optimizer::new(sgd, [one(), one()].concat()), "parameter \"fc.bias\" is given twice");

    let refused = |result: sassl::Result<()>, start: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    };
    refused(Schedule::new(f64::INFINITY, 0, 10).map(drop), "lr must be a finite number >= 0, got inf");
    refused(Schedule::new(0.1, 10, 10).map(drop), "warmup must be less than total (10), got 10");
    refused(Schedule::new(0.1, 0, 0).map(drop), "total must be an integer >= 1, got 0");
    refused(Momentum::constant(1.1).map(drop), "m must be in [0, 1], got 1.1");
    refused(Momentum::cosine(f64::NAN, 10).map(drop), "tau0 must be in [0, 1], got NaN");
    refused(Momentum::cosine(0.99, 0).map(drop), "total must be an integer >= 1, got 0");
}

#[test]
#[should_panic(expected = "gradient of fc.bias")]
fn a_gradient_of_another_length_is_a_bug() {
    let parameters = vec![TensorInfo { name: "fc.bias".into(), ndim: 1, len: 3 }];
    Optimizer::new(Sgd::default(), parameters).unwrap().update(0, 0.1, &mut [0.0; 3], &[0.0; 2]);
}
