//! A reader of TFLite files: the first graph of a file, with constants in float32 or float16, or quantized to int8, uint8 or
//! int32.
//!
//! <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>
use super::constant::{Constant, Element, Numbers, Quantization};
use super::flatbuffer::{Damaged, Table};
use super::graph::{Graph, Kind, MAX_LIST, MAX_OPERANDS, MAX_RANK, Slot};
use super::tflite_operator::{Action, Code};

/// Returns `true` if the bytes start like a TFLite file.
pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"TFL3")
}

/// Reads the structure of a file into an empty graph; the error states the reason for a failure.
pub(super) fn parse<'a>(bytes: &'a [u8], graph: &mut Graph<'a>) -> Result<(), String> {
    let in_the = |what: &'static str| move |Damaged| format!("an offset or a length in its {what} is wrong");
    let model = Table::root(bytes).map_err(in_the("root"))?;
    let codes = model.tables(1, MAX_LIST).map_err(in_the("operator codes"))?;
    let graphs = model.tables(2, MAX_LIST).map_err(in_the("list of graphs"))?;
    let first = graphs.first().ok_or("has no graph")?;
    let buffers = model.tables(4, MAX_LIST).map_err(in_the("list of buffers"))?;
    let tensors = first.tables(0, MAX_LIST).map_err(in_the("list of tensors"))?;
    for &table in &tensors {
        graph.add(slot(table, &buffers).map_err(in_the("list of tensors"))?);
    }
    // For each tensor, the one from which it is converted, or itself.
    let mut sources: Vec<usize> = (0..tensors.len()).collect();
    let mut given = vec![false; tensors.len()];
    let known = |list: Vec<i32>| -> Result<Vec<usize>, String> {
        let known = |&n: &i32| usize::try_from(n).ok().filter(|&n| n < tensors.len());
        list.iter().map(|n| known(n).ok_or(format!("refers to tensor {n} of {}", tensors.len()))).collect()
    };
    let inputs = first.numbers(1, MAX_OPERANDS, i32::from_le_bytes).map_err(in_the("list of inputs"))?;
    graph.inputs = known(inputs)?;
    for input in graph.inputs.clone() {
        set_range(graph, input, tensors[input])?;
    }
    for (i, table) in first.tables(3, MAX_LIST).map_err(in_the("list of operators"))?.into_iter().enumerate() {
        let operands = |field| table.numbers(field, MAX_OPERANDS, i32::from_le_bytes).map_err(in_the("operands"));
        // An absent optional input is -1.
        let mut inputs = known(operands(1)?.into_iter().filter(|&n| n != -1).collect())?;
        let outputs = known(operands(2)?)?;
        inputs.iter_mut().for_each(|input| *input = sources[*input]);
        if let Some(output) = outputs.iter().find(|&&output| std::mem::replace(&mut given[output], true)) {
            return Err(format!("two operators compute tensor {output}"));
        }
        let action = Code::read(table, &codes).and_then(|code| code.action(&inputs, &outputs, graph));
        match (action.map_err(|what| format!("operator {i} {what}"))?, inputs.as_slice(), outputs.as_slice()) {
            (Action::Convert, &[input, ..], &[output]) => {
                sources[output] = input;
                if graph.inputs.contains(&input) {
                    set_range(graph, input, tensors[output])?;
                }
            }
            (Action::Activate(activation), &[input], &[output]) => graph.activate(activation, input, output),
            (Action::Compute(kind), ..) => graph.push(kind, inputs, outputs),
            _ => graph.push(Kind::Other, inputs, outputs),
        }
    }
    Ok(())
}

/// Stores the value range of a graph input if `table` describes a quantization to 8 bits.
fn set_range(graph: &mut Graph, input: usize, table: Table) -> Result<(), String> {
    let element = match table.i8(1) {
        Ok(3) => Element::U8,
        Ok(9) => Element::I8,
        _ => return Ok(()),
    };
    let range = quantization(table).ok().flatten().and_then(|quantization| quantization.range(element));
    let range = range.ok_or("quantizes an input with more than one scale")?;
    graph.slot_mut(input).into_iter().for_each(|slot| slot.range = Some(range));
    Ok(())
}

fn slot<'a>(table: Table<'a>, buffers: &[Table<'a>]) -> Result<Slot<'a>, Damaged> {
    let sides = table.numbers(0, MAX_RANK, i32::from_le_bytes)?;
    let shape: Option<Vec<usize>> = sides.into_iter().map(|n| usize::try_from(n).ok()).collect();
    let shape = shape.ok_or(Damaged)?;
    let buffer = usize::try_from(table.i32(2)?).ok().and_then(|n| buffers.get(n)).ok_or(Damaged)?;
    let name = std::str::from_utf8(table.bytes::<1>(3)?).unwrap_or("");
    let mut slot = Slot::computed(name, shape);
    let Ok(bytes) = buffer.bytes::<1>(0) else {
        slot.constant = Err("its buffer ends beyond the file; is it truncated?".into());
        return Ok(slot);
    };
    if !bytes.is_empty() {
        slot.constant = constant(table, slot.shape.clone(), bytes);
    }
    // An unknown dimension is 1 in the shape and -1 in the shape's signature.
    let signature = table.numbers(7, MAX_RANK, i32::from_le_bytes)?;
    for (side, _) in slot.shape.iter_mut().zip(signature).filter(|(_, signed)| *signed == -1) {
        *side = 0;
    }
    Ok(slot)
}

/// Reads the constant in `bytes`; the error states the reason for a failure.
fn constant<'a>(table: Table<'a>, shape: Vec<usize>, bytes: &'a [u8]) -> Result<Constant<'a>, String> {
    let misfit = |Damaged| "its quantization does not match its shape".to_owned();
    let element = match table.i8(1).map_err(|Damaged| "has no type".to_owned())? {
        0 => Element::F32,
        1 => Element::F16,
        2 => Element::I32,
        3 => Element::U8,
        4 => Element::I64,
        9 => Element::I8,
        other => {
            return Err(format!("has type {other}, not float32, float16, int8, uint8, int32 or int64"));
        }
    };
    let numbers = Numbers { element, bytes, varints: false };
    let quantization = if numbers.is_integer() { quantization(table).map_err(misfit)? } else { None };
    Ok(Constant { shape, numbers, quantization })
}

/// Returns the quantization of a tensor's integers, if there is one.
fn quantization(table: Table<'_>) -> Result<Option<Quantization<'_>>, Damaged> {
    let Some(table) = table.table(4)? else { return Ok(None) };
    let list = |element, bytes| Numbers { element, bytes, varints: false };
    let scales = list(Element::F32, table.bytes::<4>(2)?);
    let zeros = list(Element::I64, table.bytes::<8>(3)?);
    let axis = usize::try_from(table.i32(6)?).map_err(|_| Damaged)?;
    let zeros = (!zeros.bytes.is_empty()).then_some(zeros);
    Ok((!scales.bytes.is_empty()).then_some(Quantization { scales, zeros, axis }))
}
