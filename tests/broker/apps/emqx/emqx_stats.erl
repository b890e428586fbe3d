%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_stats).
-export([getstats/0, getstat/1]).

-ifdef(live_connections).
-define(LIVE, ['live_connections']).
-else.
-define(LIVE, []).
-endif.
-define(NAMES, ['channels', 'connections'] ++ ?LIVE ++ ['retained', 'routes', 'sessions',
                'suboptions', 'subscribers', 'subscriptions', 'subscriptions.shared', 'topics']).

getstats() ->
    lists:append([[{stat(Name, "count"), N}, {stat(Name, "max"), peak(Name, N)}]
                  || Name <- ?NAMES, N <- [count(Name)]]).

getstat(Stat) ->
    proplists:get_value(Stat, getstats()).

stat(Name, Suffix) ->
    list_to_atom(atom_to_list(Name) ++ "." ++ Suffix).

count('channels') -> emqx_cm:count(channels);
count('connections') -> emqx_cm:count(channels);
count('live_connections') -> emqx_cm:count(live);
count('sessions') -> emqx_cm:count(channels);
count('routes') -> emqx_broker:count(topics);
count('topics') -> emqx_broker:count(topics);
count('suboptions') -> emqx_broker:count(subscriptions);
count('subscriptions') -> emqx_broker:count(subscriptions);
count('subscribers') -> emqx_broker:count(subscribers);
count(_) -> 0.

%% A maximum is seen when somebody looks; nobody needs it finer.
peak(Name, N) ->
    Key = {?MODULE, Name},
    case persistent_term:get(Key, 0) of
        Max when Max >= N -> Max;
        _ -> persistent_term:put(Key, N), N
    end.
