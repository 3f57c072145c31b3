use super::super::batch::elements;
use super::super::event::{EventView, NewEvent};
use super::*;
use proptest::prelude::*;

fn queue(events: usize, overflow: Overflow) -> Queue {
    Queue::new(Limits { events, bytes: 1 << 20, overflow }, Budget::new(1 << 30, 1 << 10))
}

/// `count` events that carry the numbers from `first` on.
fn run(first: usize, count: usize) -> Run {
    let mut out = BytesMut::new();
    for number in first..first + count {
        NewEvent { topic: "t", data: number.to_string().as_bytes(), ..NewEvent::default() }.put(&mut out);
    }
    let bytes = out.freeze();
    Run { whole: bytes.len(), bytes, count }
}

fn numbers(segment: &Segment) -> Vec<usize> {
    let data = elements(&segment.bytes).map(|(_, body)| EventView::parse(body).unwrap().data);
    data.map(|data| str::from_utf8(data).unwrap().parse().unwrap()).collect()
}

#[test]
fn the_oldest_are_dropped_and_the_gap_stands_in_front_of_what_follows() {
    let queue = queue(10, Overflow::DropOldest);
    queue.push(&run(0, 8), None);
    queue.push(&run(8, 5), None);
    let taken = queue.try_take(usize::MAX).unwrap();
    assert_eq!(taken[0].missed, 3);
    assert_eq!(taken.iter().flat_map(numbers).collect::<Vec<_>>(), (3..13).collect::<Vec<_>>());
}

#[test]
fn the_newest_are_dropped_and_the_gap_stands_behind_what_was_kept() {
    let queue = queue(3, Overflow::DropNewest);
    queue.push(&run(0, 5), None);
    queue.push(&run(5, 1), None);
    let taken = queue.try_take(usize::MAX).unwrap();
    assert_eq!((taken[0].missed, numbers(&taken[0])), (0, vec![0, 1, 2]));
    assert_eq!((taken[1].missed, taken[1].count), (3, 0));
}

#[test]
fn a_subscriber_that_wants_no_gaps_is_cut_off() {
    let queue = queue(3, Overflow::Disconnect);
    queue.push(&run(0, 3), None);
    queue.push(&run(3, 1), None);
    assert_eq!(queue.try_take(usize::MAX).unwrap_err(), Ended::Overflow);
}

#[test]
fn above_the_budget_of_all_a_queue_keeps_its_share() {
    let budget = Budget::new(4 << 10, 1 << 10);
    let limits = Limits { events: 1 << 20, bytes: 1 << 20, overflow: Overflow::DropOldest };
    let (greedy, modest) = (Queue::new(limits, budget.clone()), Queue::new(limits, budget.clone()));
    (0..1_000).for_each(|number| {
        greedy.push(&run(number, 1), None);
    });
    assert!(budget.used.load(Relaxed) < 5 << 10);
    modest.push(&run(0, 1), None);
    assert_eq!(modest.try_take(usize::MAX).unwrap()[0].missed, 0);
    drop((greedy, modest));
    assert_eq!(budget.used.load(Relaxed), 0);
}

#[test]
fn events_of_different_turns_do_not_mix() {
    let queue = queue(100, Overflow::DropOldest);
    let turn = Arc::new(Turn { groups: vec!["g".into()], is_exclusive: true });
    queue.push(&run(0, 1), None);
    queue.push(&run(1, 1), Some(&turn));
    queue.push(&run(2, 1), Some(&turn));
    let taken = queue.try_take(usize::MAX).unwrap();
    assert_eq!(taken.iter().map(numbers).collect::<Vec<_>>(), [vec![0], vec![1, 2]]);
    assert_eq!(taken[1].turn, Some(turn));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(1usize..400).prop_map(Step::Push), (1usize..3_000).prop_map(Step::Take)]
}

proptest! {
    #[test]
    fn order_is_kept_and_every_event_is_there_or_counted(
        steps in prop::collection::vec(step(), 1..40),
        limit in 1usize..500,
        is_newest: bool,
    ) {
        let queue = queue(limit, if is_newest { Overflow::DropNewest } else { Overflow::DropOldest });
        let (mut sent, mut seen) = (0, 0);
        let mut check = |taken: Vec<Segment>| {
            for segment in taken {
                seen += segment.missed as usize;
                for number in numbers(&segment) {
                    assert_eq!(number, seen);
                    seen += 1;
                }
            }
            seen
        };
        for step in steps {
            match step {
                Step::Push(count) => {
                    queue.push(&run(sent, count), None);
                    sent += count;
                }
                Step::Take(bytes) => { check(queue.try_take(bytes).unwrap()); }
            }
            prop_assert!(queue.held.lock().events <= limit);
        }
        prop_assert_eq!(check(queue.try_take(usize::MAX).unwrap()), sent);
        prop_assert_eq!(queue.budget.used.load(Relaxed), 0);
    }
}
